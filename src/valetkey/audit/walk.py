"""Going along one chain, line by line, to the first that does not stand where it was written. Pure.

What may not be here: where lines come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from hmac import compare_digest
from typing import Final

from valetkey.audit.chain import Signed, Stand, hash_of, link_of
from valetkey.audit.line import Line
from valetkey.audit.report import Chain, Finding

RENUMBERED: Final = 1000
"""Lines that may be missing in a row for their removal to be told from an edit, where what follows was renumbered."""


class Walk:
    """Go along a chain from a place in it. `along` is given its lines in the order of their numbers."""

    def __init__(self, writer: str, ordinal: int, start: Stand, signed: Signed) -> None:
        self.writer = writer
        self.ordinal = ordinal
        self.stand = start
        self.start = start
        self.signed_until = start.number
        self.last_line: Line | None = None
        self._signed = signed
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._id = 0

    def along(self, lines: Sequence[Line], *, most: int | None = None) -> Finding | None:
        """Go on, by so many lines at most; return the first place that does not hold, and stay before it."""
        for place, line in enumerate(lines[:most]):
            reason = self._wrong(line, lines[place:])
            if reason == "removed":
                return self.broken(reason)
            if reason:
                return self.broken(reason, line)
            self.stand = Stand(line.number, link_of(line.hash, line.signature))
            if line.signature:
                self.signed_until = line.number
            self.last_line, self._id = line, line.id
            self._first = line.at if self._first is None else min(self._first, line.at)
            self._last = line.at if self._last is None else max(self._last, line.at)
        return None

    def broken(self, reason: str, line: Line | None = None, number: int = 0) -> Finding:
        """Return the place behind the last line that holds, or that of a line, as one that does not hold."""
        number = number or (line.number if line is not None else self.stand.number + 1)
        after = None if self.last_line is None else self.last_line.at
        return Finding(reason, self.writer, self.ordinal, number, None if line is None else line.at, after)

    def chain(self, finding: Finding | None = None) -> Chain:
        """Return what was found."""
        lines = self.stand.number - self.start.number
        return Chain(self.writer, self.ordinal, lines, self.start.number, self._first, self._last, finding)

    def _wrong(self, line: Line, rest: Sequence[Line]) -> str:
        expected = self.stand.number + 1
        if line.number != expected:
            return "removed" if line.number > expected else "inserted"
        if not _fits(self.stand.link, line, line.number):
            return self._moved(rest)
        if line.signature and not self._signed.holds("line", line.hash, line.signature):
            return "edited"
        return "reordered" if line.id and line.id <= self._id else ""

    def _moved(self, rest: Sequence[Line]) -> str:
        """Say what became of the line that belongs here, from where it and the next ones are now."""
        here, number = rest[0], rest[0].number
        for place, line in enumerate(rest[1:], 1):
            if _fits(self.stand.link, line, number):
                after = rest[place + 1] if place + 1 < len(rest) else None
                shifted = after is not None and _fits(link_of(line.hash, line.signature), after, number + 1)
                return "inserted" if place == 1 and shifted else "reordered"
        if len(rest) > 1:
            link = link_of(here.hash, here.signature)
            if any(_fits(link, rest[1], rest[1].number + gap) for gap in range(1, RENUMBERED)):
                return "removed"
        return "edited"


def _fits(link: bytes, line: Line, number: int) -> bool:
    """Say whether a line was written under this number, standing on this link."""
    return compare_digest(hash_of(link, line if line.number == number else replace(line, number=number)), line.hash)
