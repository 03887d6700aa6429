"""One line of the audit log. Nothing in it is secret: names, words from fixed lists, and fingerprints.

A line with a `number` belongs to a chain (chain.py). One without was written by a valetkey before there were chains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from valetkey.effects import Event

TEXT_LIMIT: Final = 1000
"""Characters of one text of a line: names come from callers, who may call a connection anything."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PUT: Final = ("\0", "\ufffd")  # PostgreSQL's texts hold every character but NUL


@dataclass(frozen=True, slots=True)
class Line:
    """Be an event with its time and who did it, and its place in the chain of its writer.

    `actor` is the face and the operating system's user (cli:alice), or who the face says it acts for (api:billing).
    `request` is the id of the request it belongs to, `fingerprint` tells a token without giving it away.
    """

    at: datetime
    actor: str
    kind: str
    subject: str
    outcome: str = "ok"
    reason: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    request: str = ""
    fingerprint: str = ""
    writer: str = ""
    number: int = 0
    hash: bytes = b""
    signature: bytes = b""
    id: int = field(default=0, compare=False)

    @classmethod
    def of(cls, event: Event, at: datetime, actor: str, request: str = "") -> Line:
        """Return an event as a line that is not in a chain yet."""
        detail = {name: text_of(value) for name, value in event.detail.items()}
        fingerprint = detail.pop("fingerprint", "")
        return cls(
            rounded(at),
            text_of(actor),
            text_of(event.kind),
            text_of(event.subject),
            text_of(event.outcome),
            text_of(event.reason),
            detail,
            text_of(request),
            fingerprint,
        )

    def placed(self, writer: str, number: int, hashed: bytes, signature: bytes) -> Line:
        """Return the line in its place of a chain; `dataclasses.replace` would take five times as long."""
        told = (self.at, self.actor, self.kind, self.subject, self.outcome, self.reason, self.detail)
        return Line(*told, self.request, self.fingerprint, writer, number, hashed, signature)

    def to_dict(self) -> dict[str, object]:
        """Return the line for programs, without its place in the chain."""
        shown: dict[str, object] = {"at": self.at.isoformat(timespec="milliseconds"), "kind": self.kind}
        shown |= {"subject": self.subject, "outcome": self.outcome, "actor": self.actor}
        shown |= {name: text for name in ("reason", "request", "fingerprint") if (text := getattr(self, name))}
        return {**shown, **({"detail": dict(self.detail)} if self.detail else {})}

    def to_chained_dict(self) -> dict[str, object]:
        """Return the line for programs, with what is needed to verify it."""
        chained: dict[str, object] = {"writer": self.writer, "number": self.number, "hash": self.hash.hex()}
        if self.signature:
            chained["signature"] = self.signature.hex()
        return {**self.to_dict(), **(chained if self.number else {})}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Line:
        """Read a line as `to_chained_dict` wrote it; raises KeyError, TypeError or ValueError."""
        number = given.get("number", 0)
        detail = given.get("detail", {})
        if not isinstance(number, int) or not isinstance(detail, dict):
            raise TypeError("not a line of an audit log")
        return cls(
            rounded(datetime.fromisoformat(given["at"])),
            str(given["actor"]),
            str(given["kind"]),
            str(given["subject"]),
            str(given["outcome"]),
            str(given.get("reason", "")),
            {str(name): str(value) for name, value in detail.items()},
            str(given.get("request", "")),
            str(given.get("fingerprint", "")),
            str(given.get("writer", "")),
            number,
            bytes.fromhex(given.get("hash", "")),
            bytes.fromhex(given.get("signature", "")),
        )


def text_of(value: str) -> str:
    """Return a text that every store can hold: not too long, no NUL, no half of a surrogate pair."""
    return value[:TEXT_LIMIT].replace(*_PUT).encode("utf-8", "replace").decode()


def rounded(at: datetime) -> datetime:
    """Return a time to the millisecond, which is what stores keep."""
    return _EPOCH + timedelta(milliseconds=millis_of(at))


def millis_of(at: datetime) -> int:
    """Return a time as milliseconds since 1970."""
    return (at - _EPOCH) // timedelta(milliseconds=1)
