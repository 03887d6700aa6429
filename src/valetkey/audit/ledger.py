"""What a store keeps of the audit log, in a handful of blocking calls. What may not be here: keys, and what is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, NamedTuple, Protocol

from valetkey.audit.line import Line

ROSTER: Final = ""
"""The name of the row that counts the writers; a writer's is never empty."""


class Head(NamedTuple):
    """Be what the store keeps of a writer: which one it was, how many lines, and two tagged places in its chain.

    `box` is its last line, `floor` the last one that was pruned. In the roster's row, `number` counts its changes and
    `box` says how many writers there ever were.
    """

    writer: str
    ordinal: int
    number: int
    box: bytes
    floor: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Be what is looked for; what is empty is not asked. A kind that ends in a dot is all kinds that begin with it.

    `app` is an app and all its connections; `until` is the first moment that is not asked for.
    """

    subject: str = ""
    app: str = ""
    kind: str = ""
    outcome: str = ""
    actor: str = ""
    request: str = ""
    fingerprint: str = ""
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0
    before: int = 0
    oldest_first: bool = False

    TEXTS: ClassVar = ("subject", "kind", "outcome", "actor", "request", "fingerprint")

    def matches(self, line: Line) -> bool:
        """Say whether a line is one of those looked for."""
        for name in self.TEXTS:
            wanted, found = getattr(self, name), getattr(line, name)
            if wanted and found != wanted and not (name == "kind" and wanted[-1] == "." and found.startswith(wanted)):
                return False
        if self.app and line.subject != self.app and not line.subject.startswith(f"{self.app}/"):
            return False
        if self.since is not None and line.at < self.since:
            return False
        if self.until is not None and line.at >= self.until:
            return False
        return line.id > self.after and not (self.before and line.id >= self.before)


class Ledger(Protocol):
    """Keep lines and heads. All raise StoreUnavailable; then nothing was changed, or it is not known whether it was."""

    def append(self, lines: Sequence[Line], head: Head, seen: int) -> bool:
        """Write lines and their writer's new head, durably and together, if the head's number is still `seen`."""

    def enroll(self, head: Head, roster: Head, seen: int) -> bool:
        """Write a new writer and the roster that counts it, if the roster's number is still `seen` (0: none yet)."""

    def head(self, writer: str) -> Head | None:
        """Return the head of a writer, or the roster."""

    def heads(self) -> list[Head]:
        """Return all heads and the roster, in the order of their ordinals."""

    def find(self, query: Query, limit: int) -> list[Line]:
        """Return up to `limit` lines, oldest first: the newest that match, or the oldest where the query says so."""

    def chain(self, writer: str, after: int, limit: int) -> list[Line]:
        """Return the next lines of a writer, in the order of their numbers."""

    def strays(self, writers: Sequence[str]) -> list[str]:
        """Return who else has lines than these writers."""

    def unchained(self, after: int | None, limit: int) -> list[Line]:
        """Return the next lines that stand in no chain, in the order of their ids (None: from the first)."""

    def cut(self, writer: str, until: int, floor: bytes, seen: bytes) -> bool:
        """Delete a writer's lines up to a number and write its floor, together, if the floor is still `seen`."""

    def retire(self, heads: Sequence[Head], roster: Head, seen: int) -> bool:
        """Delete heads, and write the roster that says so, if all of them are still as they were seen."""

    def cut_unchained(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` lines from before there were chains; return how many were deleted."""
