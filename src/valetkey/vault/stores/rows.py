"""What two dialects of SQL share: how times and prefixes are written in columns.

What may not be here: statements, and imports of any database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Row(NamedTuple):
    """Be one record as it lies in a table; `due_at` is milliseconds since 1970, `box` is sealed."""

    name: str
    version: int
    state: str
    due_at: int | None
    box: bytes


class AuditRow(NamedTuple):
    """Be one line of the audit log as it lies in a table; `at` is milliseconds since 1970."""

    id: int
    at: int
    actor: str
    kind: str
    subject: str
    outcome: str
    reason: str
    detail: str
    request: str
    fingerprint: str
    writer: str
    number: int
    hash: bytes
    signature: bytes


def span(prefix: str) -> tuple[str, str]:
    """Return the range of names that begin with a prefix: from it, to before the next of its length."""
    return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else chr(0x10FFFF)


def millis(moment: datetime | None) -> int | None:
    """Return a time as milliseconds since 1970."""
    return None if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)


def moment(millis: int | None) -> datetime | None:
    """Return milliseconds since 1970 as a time (aware, UTC)."""
    return None if millis is None else aware(millis)


def aware(millis: int) -> datetime:
    """Return milliseconds since 1970 as a time (aware, UTC)."""
    return _EPOCH + timedelta(milliseconds=millis)
