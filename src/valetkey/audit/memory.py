"""The audit log in memory: for tests and the store in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from valetkey.audit.ledger import ROSTER, Head, Query
from valetkey.audit.line import Line


class MemoryLedger:
    """Keep lines and heads in lists; what is here is gone with the process."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._heads: dict[str, Head] = {}
        self._lock = threading.Lock()

    def append(self, lines: Sequence[Line], head: Head, seen: int) -> bool:
        """Keep lines and head."""
        with self._lock:
            there = self._heads.get(head.writer)
            if there is None or there.number != seen:
                return False
            self._heads[head.writer] = head._replace(floor=there.floor)
            self.put(lines)
            return True

    def put(self, lines: Sequence[Line]) -> None:
        """Keep lines as they are."""
        begin = self._lines[-1].id if self._lines else 0
        self._lines += [replace(line, id=begin + number) for number, line in enumerate(lines, 1)]

    def enroll(self, head: Head, roster: Head, seen: int) -> bool:
        """Keep a new writer and the roster."""
        with self._lock:
            if not self._follows(seen) or head.writer in self._heads:
                return False
            self._heads |= {head.writer: head, ROSTER: roster}
            return True

    def head(self, writer: str) -> Head | None:
        """Return one head."""
        return self._heads.get(writer)

    def heads(self) -> list[Head]:
        """Return all heads."""
        return sorted(self._heads.values(), key=lambda head: head.ordinal)

    def find(self, query: Query, limit: int) -> list[Line]:
        """Return what matches."""
        found = [line for line in self._lines if query.matches(line)]
        return found[:limit] if query.oldest_first else found[-limit:] if limit else []

    def chain(self, writer: str, after: int, limit: int) -> list[Line]:
        """Return the next lines of one chain."""
        mine = [line for line in self._lines if line.writer == writer and line.number > after]
        return sorted(mine, key=lambda line: line.number)[:limit]

    def strays(self, writers: Sequence[str]) -> list[str]:
        """Return who has lines and is not one of these."""
        return sorted({line.writer for line in self._lines if line.number} - set(writers))

    def unchained(self, after: int | None, limit: int) -> list[Line]:
        """Return lines that stand in no chain."""
        return [line for line in self._lines if line.number < 1 and (after is None or line.id > after)][:limit]

    def cut(self, writer: str, until: int, floor: bytes, seen: bytes) -> bool:
        """Forget lines and keep the floor."""
        with self._lock:
            there = self._heads.get(writer)
            if there is None or there.floor != seen:
                return False
            self._heads[writer] = there._replace(floor=floor)
            self._lines = [line for line in self._lines if line.writer != writer or line.number > until]
            return True

    def retire(self, heads: Sequence[Head], roster: Head, seen: int) -> bool:
        """Forget heads and keep the roster."""
        with self._lock:
            if not self._follows(seen) or any(self._heads.get(head.writer) != head for head in heads):
                return False
            gone = {head.writer for head in heads}
            self._heads = {name: head for name, head in self._heads.items() if name not in gone}
            self._heads[ROSTER] = roster
            return True

    def cut_unchained(self, before: datetime, limit: int) -> int:
        """Forget lines that belong to no chain."""
        with self._lock:
            old = [line.id for line in self._lines if not line.number and line.at < before][:limit]
            self._lines = [line for line in self._lines if line.id not in set(old)]
            return len(old)

    def _follows(self, seen: int) -> bool:
        roster = self._heads.get(ROSTER)
        return (roster.number if roster is not None else 0) == seen
