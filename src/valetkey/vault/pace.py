"""How fast the refresher may go, and where: one lane for each token host and each listener; and what it has done.

A lane lets its work start evenly, only so much of it at once, and rests when its host is down: then one try at a time
goes ahead, and the others wait. So a host that hangs cannot take all threads, and one that is back is not stormed.
What may not be here: clocks and threads; times are arguments, in seconds of any clock that never goes back.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

CONCURRENCY: Final = 8
"""Pieces of work under way at once: a refresh waits for the network most of its time."""

REST_FIRST: Final = 1.0
REST_MOST: Final = 60.0
"""Seconds a lane rests after failures in a row, doubling from the first to the most."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Be one thing that was done: renewed, failed, told, (un)delivered, (un)published, stuck or surveyed.

    `error` is what went wrong with it, where something did: nothing was renewed, or it was not published.
    """

    at: datetime
    what: str
    subject: str
    detail: str = ""
    error: BaseException | None = field(default=None, repr=False, compare=False)


@dataclass(slots=True)
class Tally:
    """Be what a run came to: how often each thing was done."""

    counts: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, int]:
        """Return the counts for programs."""
        return dict(self.counts)


@dataclass(slots=True)
class Lane:
    """Be the work of one host. `most` is how much of it may be under way at once."""

    per_second: float
    most: int
    waiting: deque[str] = field(default_factory=deque)
    flying: int = 0
    opens_at: float = 0.0
    stumbles: int = 0
    stumbled_at: float = float("-inf")

    def ready_at(self) -> float | None:
        """Return when the next piece may start; None: nothing waits, or enough is under way."""
        if not self.waiting or self.flying >= (1 if self.stumbles else self.most):
            return None
        return self.opens_at

    def take(self, moment: float) -> str:
        """Start the next piece."""
        self.opens_at = max(self.opens_at, moment) + 1.0 / self.per_second
        self.flying += 1
        return self.waiting.popleft()

    def land(self, started: float, moment: float, *, rest: float | None) -> None:
        """Say that a piece has ended; `rest` is None unless the host failed, then how long it wants to rest."""
        self.flying -= 1
        if rest is None:
            if started >= self.stumbled_at:
                self.stumbles = 0
            return
        if started >= self.stumbled_at:  # what had started before the last stumble tells nothing new
            self.stumbles += 1
            self.stumbled_at = moment
        grown = min(REST_MOST, REST_FIRST * 2.0 ** (max(1, self.stumbles) - 1))
        self.opens_at = max(self.opens_at, moment + max(rest, grown))


class Lanes:
    """Be all lanes: give out the work of each in turn."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._turn: deque[str] = deque()
        self._waiting: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, name: object) -> bool:
        return name in self._waiting

    def add(self, place: str, name: str, *, per_second: float, most: int) -> None:
        """Let a piece of work wait in the lane of its place."""
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(per_second, most)
            self._turn.append(place)
        lane.per_second, lane.most = per_second, most
        lane.waiting.append(name)
        self._waiting.add(name)

    def take(self, moment: float) -> tuple[str, str] | None:
        """Return place and name of a piece that may start now, each lane in its turn; None: there is none."""
        for _ in range(len(self._turn)):
            place = self._turn[0]
            self._turn.rotate(-1)
            lane = self._lanes[place]
            ready = lane.ready_at()
            if ready is not None and ready <= moment:
                name = lane.take(moment)
                self._waiting.discard(name)
                return place, name
        return None

    def land(self, place: str, started: float, moment: float, *, rest: float | None) -> None:
        """Say that a piece has ended."""
        self._lanes[place].land(started, moment, rest=rest)

    def ready_at(self) -> float | None:
        """Return when the next piece of any lane may start, as far as is known."""
        return min((at for lane in self._lanes.values() if (at := lane.ready_at()) is not None), default=None)

    def drop_resting(self) -> None:
        """Forget what waits in lanes that rest: it is due again at another time."""
        for lane in self._lanes.values():
            if lane.stumbles:
                self._waiting.difference_update(lane.waiting)
                lane.waiting.clear()

    def clear(self) -> None:
        """Forget all that waits."""
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._waiting.clear()
