"""One chain being written: its place, its key, and what to do when the store does not know it any more.

Not for several threads: recorder.py gives them turns.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from valetkey.audit.chain import ChainKey, Stand, chained, first, floor_purpose, head_purpose
from valetkey.audit.ledger import ROSTER, Head, Ledger
from valetkey.audit.line import Line
from valetkey.audit.roster import Roster
from valetkey.errors import StoreUnavailable, VaultDamaged

ATTEMPTS: Final = 100
"""To be counted in the roster: as many processes that begin at the same moment can come between."""


class Say(Protocol):
    """Make a line of the log's own."""

    def __call__(self, kind: str, **detail: str) -> Line:
        """Return the line."""


@dataclass
class _Chain:
    name: str
    ordinal: int
    stand: Stand


class Writer:
    """Append lines to a chain of its own, begun with the first of them."""

    def __init__(self, ledger: Ledger, key: Callable[[], ChainKey], say: Say) -> None:
        self._ledger = ledger
        self._key = key
        self._say = say
        self.mirrors: list[Callable[[list[Line], ChainKey], None]] = []
        self.forget()

    @property
    def name(self) -> str:
        """Return the id of the chain, empty before the first line."""
        return self._chain.name if self._chain is not None else ""

    def forget(self) -> None:
        """Begin another chain with the next line."""
        self._chain: _Chain | None = None
        self._doubt: tuple[Head, list[Line], list[Line], Stand] | None = None

    def append(self, lines: list[Line]) -> None:
        """Write lines durably; raises StoreUnavailable or VaultDamaged."""
        if not lines and self._doubt is None:
            return  # looking at a log makes no key for it
        key = self._key()
        lines = self._undoubted(key, lines)
        if not lines:
            return
        for _ in range(2):
            chain = self._chain
            if chain is None:
                chain = self._begun(key)
            begun = [] if chain.stand.number else [self._say("audit.begun", **process())]
            made, stand = chained(key, chain.name, chain.stand, begun + lines)
            box = key.boxed(head_purpose(chain.name, chain.ordinal), stand)
            head = Head(chain.name, chain.ordinal, stand.number, box, b"")
            self._doubt = (head, lines, made, stand)
            done = self._ledger.append(made, head, chain.stand.number)
            self._doubt = None
            if done:
                chain.stand = stand
                self._tell(made, key)
                return
            # The store holds an older state: it was restored, or moved to and fro. What it says now stays as it is.
            self._chain = None
        raise StoreUnavailable("the audit log was replaced while it was written", fix="try again")

    def _undoubted(self, key: ChainKey, lines: list[Line]) -> list[Line]:
        """Find out whether lines were written whose answer was lost; they are not written again."""
        if self._doubt is None or self._chain is None:
            return lines
        head, given, made, stand = self._doubt
        there = self._ledger.head(head.writer)
        self._doubt = None
        if there is None or there.box != head.box:
            return lines
        self._chain.stand = stand
        self._tell(made, key)
        written = {id(line) for line in given}
        return [line for line in lines if id(line) not in written]

    def _begun(self, key: ChainKey) -> _Chain:
        """Be counted in the roster, with a chain that has no line yet."""
        for _ in range(ATTEMPTS):
            seen, roster = read_roster(self._ledger, key)
            counted = Roster(roster.writers + 1, roster.gone)
            name = os.urandom(8).hex()
            start = first(key.vault_id, name)
            head = self._head(key, name, counted.writers, start)
            new = Head(ROSTER, 0, seen + 1, counted.boxed(key, seen + 1), b"")
            if self._ledger.enroll(head, new, seen):
                self._chain = _Chain(name, counted.writers, start)
                return self._chain
        raise StoreUnavailable("too many processes begin to write the audit log at once", fix="try again")

    @staticmethod
    def _head(key: ChainKey, name: str, ordinal: int, start: Stand) -> Head:
        box = key.boxed(head_purpose(name, ordinal), start)
        return Head(name, ordinal, 0, box, key.boxed(floor_purpose(name, ordinal), start))

    def _tell(self, lines: list[Line], key: ChainKey) -> None:
        for mirror in self.mirrors:
            mirror(lines, key)


def read_roster(ledger: Ledger, key: ChainKey) -> tuple[int, Roster]:
    """Return the roster and the number of its last change, 0 where none was made; raises VaultDamaged."""
    there = ledger.head(ROSTER)
    if there is None:
        return 0, Roster()
    roster = Roster.unboxed(key, there.number, there.box)
    if roster is None:
        raise VaultDamaged(
            "the roster of the audit log does not open",
            cause="somebody edited the database, or it was mended with parts of an older copy",
            fix="restore the vault from a backup",
        )
    return there.number, roster


def process() -> dict[str, str]:
    """Return which process this is."""
    return {"pid": str(os.getpid()), "host": socket.gethostname()}
