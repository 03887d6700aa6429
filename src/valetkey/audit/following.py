"""Seeing each line once while others write: which lines were seen, and how far back one must look for late ones.

A database hands out ids when lines are written, and shows the lines when they are committed: a line can become visible
after one with a higher id. What may not be here: waiting.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from valetkey.audit.ledger import Ledger, Query
from valetkey.audit.line import Line

POLL_SECONDS: Final = 1.0

OVERLAP_SECONDS: Final = 60.0
"""How long a line can be late: longer than any database is allowed to take for a commit of valetkey."""

PAGE: Final = 1000


class Window:
    """Remember which lines of late were seen. Those in `shown` were, and nothing before the first of them is asked."""

    def __init__(self, shown: Sequence[Line] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._from = shown[0].id - 1 if shown else 0
        self._seen: dict[tuple[str, int], int] = {_name(line): line.id for line in shown}
        self._highest = max((line.id for line in shown), default=0)
        self._marks: deque[tuple[float, int]] = deque([(clock(), self._highest)])

    def fresh(self, ledger: Ledger) -> Iterator[Line]:
        """Give the lines that were not seen yet, and forget those that no late one can stand beside."""
        after = self._from
        while page := ledger.find(Query(after=after, oldest_first=True), PAGE):
            after = page[-1].id
            for line in page:
                if _name(line) not in self._seen:
                    self._seen[_name(line)] = line.id
                    self._highest = max(self._highest, line.id)
                    yield line
            if len(page) < PAGE:
                break
        self._forget()

    def _forget(self) -> None:
        moment = self._clock()
        self._marks.append((moment, self._highest))
        while len(self._marks) > 1 and self._marks[1][0] <= moment - OVERLAP_SECONDS:
            self._marks.popleft()
        if self._marks[0][0] <= moment - OVERLAP_SECONDS and self._marks[0][1] > self._from:
            self._from = self._marks[0][1]
            self._seen = {name: number for name, number in self._seen.items() if number > self._from}


def _name(line: Line) -> tuple[str, int]:
    return (line.writer, line.number) if line.number else ("", line.id)
