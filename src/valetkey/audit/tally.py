"""Counting what happens too often for a line each: the same token, handed to the same user of it, again and again.

The first time is an event at once; the repetitions are counted, and become one event for each window. To count one
costs a call of `next`, which no other thread can come between.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable
from typing import Final

WINDOW_SECONDS: Final = 60.0
MOST: Final = 4096
"""Different things counted at once; beyond, all are written down and counting begins anew."""


class Tally:
    """Be one thing that is counted. `use` counts it once."""

    __slots__ = ("_told", "due", "since", "use")

    def __init__(self, moment: float) -> None:
        self.use: Callable[[], int] = itertools.count().__next__
        self._told = 0
        self.since = moment
        self.due = moment + WINDOW_SECONDS

    def taken(self, moment: float) -> int:
        """Return how often it was counted since the last time this was asked."""
        counted = self.use()  # a count can only be read by going on with it
        fresh, self._told = counted - self._told, counted + 1
        self.since, self.due = moment, moment + WINDOW_SECONDS
        return fresh


class Tallies:
    """Hold what is counted. `repeated` is told what was, how often, and for how many seconds."""

    def __init__(
        self, repeated: Callable[[Hashable, int, float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._repeated = repeated
        self._clock = clock
        self._held: dict[Hashable, Tally] = {}
        self._fading: list[tuple[Hashable, Tally]] = []

    def find(self, key: Hashable) -> Tally | None:
        """Return the tally of a key, once more counted, or None where there is none yet."""
        tally = self._held.get(key)
        if tally is not None:
            tally.use()
        return tally

    def begin(self, key: Hashable) -> Tally:
        """Begin to count; the time that is now is not counted."""
        if len(self._held) >= MOST:
            # Who holds a tally goes on counting with it for a moment, so it is looked at once more later.
            held, self._held = self._held, {}
            self._fading += held.items()
            self._write(list(held.items()))
        return self._held.setdefault(key, Tally(self._clock()))

    def due(self) -> None:
        """Write down what was counted long enough, and forget what was not used for a whole window."""
        moment = self._clock()
        fading, self._fading = self._fading, []
        self._write(fading)
        for key, tally in list(self._held.items()):
            if moment >= tally.due and not self._write([(key, tally)]):
                self._held.pop(key, None)

    def all(self) -> None:
        """Write everything down."""
        fading, self._fading = self._fading, []
        self._write([*fading, *list(self._held.items())])

    def _write(self, tallies: list[tuple[Hashable, Tally]]) -> int:
        moment, written = self._clock(), 0
        for key, tally in tallies:
            since = tally.since
            if count := tally.taken(moment):
                self._repeated(key, count, moment - since)
                written += count
        return written

    def __len__(self) -> int:
        return len(self._held) + len(self._fading)
