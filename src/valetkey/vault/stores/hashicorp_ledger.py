"""The audit log in a KV engine, which changes one secret at a time: a writer's head and its last lines share one.

When these grow many, they are first written to a secret of their own, which is never changed again, and then left out
beside the head. A crash in between leaves them in both places; they are told by their numbers. The engine gives
lines no order across writers, so they are put in the order of their times.
What may not be here: how the engine is reached.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from valetkey.audit.ledger import ROSTER, Head, Query
from valetkey.audit.line import TEXT_LIMIT, Line

LINES_EACH: Final = 100
"""Lines beside a head; ten thousand lines of one writer are a hundred names to list."""

ATTEMPTS: Final = 10
"""Writes of one secret that others may come before."""

_ROSTER_KEY: Final = "roster"
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

Read = Callable[[str], tuple[Mapping[str, Any] | None, int]]
Write = Callable[[str, Mapping[str, Any], int], bool]


class HashiCorpLedger:
    """Keep the audit log as secrets, each read, written and listed by what the store gives."""

    def __init__(self, read: Read, write: Write, listed: Callable[[str], list[str]]) -> None:
        self._read = read
        self._write = write
        self._listed = listed

    def append(self, lines: Sequence[Line], head: Head, seen: int) -> bool:
        """Write lines and head in one secret, by compare-and-set; who prunes meanwhile is no reason to give up."""
        for _ in range(ATTEMPTS):
            held, version = self._read(_key(head.writer))
            if not held or held["number"] != seen or held.get("closed"):
                return False
            if self._appended(held, version, lines, head):
                return True
        return False

    def _appended(self, held: Mapping[str, Any], version: int, lines: Sequence[Line], head: Head) -> bool:
        tail = list(held["lines"])
        if len(tail) >= LINES_EACH:
            chunk = f"audit/{head.writer}-{tail[0]['number']:012}"
            _, there = self._read(chunk)
            if not there and not self._write(chunk, {"lines": tail}, 0):
                return False
            tail = []
        moved = {**held, "number": head.number, "box": _text(head.box)}
        return self._write(
            _key(head.writer), {**moved, "lines": [*tail, *(line.to_chained_dict() for line in lines)]}, version
        )

    def enroll(self, head: Head, roster: Head, seen: int) -> bool:
        """Write a new writer, then the roster; where another was faster, the writer is taken back."""
        if not self._write(_key(head.writer), _written(head), 0):
            return False
        if self._enrolled(roster, seen):
            return True
        self._write(_key(head.writer), {}, 1)
        return False

    def head(self, writer: str) -> Head | None:
        """Return one head."""
        held, _ = self._read(_key(writer))
        return _head(held) if held else None

    def heads(self) -> list[Head]:
        """Return all heads; reads each."""
        found = [self._read(f"audit-heads/{key}")[0] for key in self._listed("audit-heads")]
        return sorted((_head(held) for held in found if held), key=lambda head: head.ordinal)

    def find(self, query: Query, limit: int) -> list[Line]:
        """Return what matches; reads the whole log."""
        found: list[tuple[datetime, str, int, Line]] = []
        for head in self.heads():
            latest = None
            for line in self.chain(head.writer, 0, head.number) if head.writer != ROSTER else ():
                latest = line.at if latest is None else max(latest, line.at)
                found.append((latest, line.writer, line.number, line))
        ordered = [replace(kept[3], id=place) for place, kept in enumerate(sorted(found, key=lambda kept: kept[:3]), 1)]
        matching = [line for line in ordered if query.matches(line)]
        return matching[:limit] if query.oldest_first else matching[-limit:] if limit > 0 else []

    def chain(self, writer: str, after: int, limit: int) -> list[Line]:
        """Return the next lines of one chain; what a crash left of those that were cut is not shown."""
        held = self._read(_key(writer))[0] or {}  # before the listing: lines leave it for what is listed then
        keys = sorted(key for key in self._listed("audit") if key.startswith(f"{writer}-"))
        after = max(after, held.get("cut", 0))
        found: dict[int, Line] = {}
        for told in [*(self._read(f"audit/{key}")[0] or {} for key in keys), held]:
            for kept in told.get("lines", ()):
                line = _line(kept)
                found.setdefault(line.number, line)
        return [found[number] for number in sorted(found) if number > after][:limit]

    def strays(self, writers: Sequence[str]) -> list[str]:
        """Return who has lines and is not one of these."""
        unknown = sorted(key for key in self._listed("audit") if key.rpartition("-")[0] not in set(writers))
        return sorted({key.rpartition("-")[0] for key in unknown if (self._read(f"audit/{key}")[0] or {}).get("lines")})

    def unchained(self, after: int | None, limit: int) -> list[Line]:  # noqa: ARG002  # as every ledger
        """Return nothing: no line in an engine is older than the chains."""
        return []

    def cut(self, writer: str, until: int, floor: bytes, seen: bytes) -> bool:
        """Write the floor, then empty what lies under it; what a crash leaves is cut the next time."""
        for _ in range(ATTEMPTS):
            held, version = self._read(_key(writer))
            if not held or held["floor"] != _text(seen):
                return False
            kept = [line for line in held["lines"] if line["number"] > until]
            moved = {**held, "floor": _text(floor), "cut": until, "lines": kept}
            if self._write(_key(writer), moved, version):
                break
        else:
            return False
        for key in sorted(key for key in self._listed("audit") if key.startswith(f"{writer}-")):
            told, there = self._read(f"audit/{key}")
            lines = list((told or {}).get("lines", ()))
            kept = [line for line in lines if line["number"] > until]
            if kept != lines:
                self._write(f"audit/{key}", {"lines": kept}, there)
        return True

    def retire(self, heads: Sequence[Head], roster: Head, seen: int) -> bool:
        """Close the heads, write the roster, then empty the heads: nobody writes behind a head that is closed."""
        closed: list[tuple[str, int]] = []
        for head in heads:
            held, version = self._read(_key(head.writer))
            if not held or _head(held) != head:
                return False
            if not self._write(_key(head.writer), {**held, "closed": True}, version):
                return False
            closed.append((_key(head.writer), version + 1))
        if not self._enrolled(roster, seen):
            return False
        for key, version in closed:
            self._write(key, {}, version)
        return True

    def cut_unchained(self, before: datetime, limit: int) -> int:  # noqa: ARG002  # as every ledger
        """Delete nothing: no line in an engine is older than the chains."""
        return 0

    def _enrolled(self, roster: Head, seen: int) -> bool:
        held, version = self._read(_key(ROSTER))
        there = held["number"] if held else 0
        return there == seen and self._write(_key(ROSTER), _written(roster), version)


def _key(writer: str) -> str:
    return f"audit-heads/{writer or _ROSTER_KEY}"


def _written(head: Head) -> dict[str, Any]:
    named = {"writer": head.writer, "ordinal": head.ordinal, "number": head.number}
    return {**named, "box": _text(head.box), "floor": _text(head.floor), "lines": []}


def _head(held: Mapping[str, Any]) -> Head:
    return Head(held["writer"], held["ordinal"], held["number"], b64decode(held["box"]), b64decode(held["floor"]))


def _line(kept: Any) -> Line:
    """Read a line; what somebody edited into no line is shown as one that holds nowhere."""
    try:
        return Line.from_dict(kept)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        number = kept.get("number") if isinstance(kept, dict) else None
        damaged = {"damaged": str(kept)[:TEXT_LIMIT]}
        return Line(_NEVER, "", "", "", detail=damaged, number=number if isinstance(number, int) else 1)


def _text(box: bytes) -> str:
    return b64encode(box).decode()
