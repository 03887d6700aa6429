"""How many authorizations may have been begun in the last ten minutes: each is a record, kept until somebody answers.

In the memory of this process: several behind one name each have an allowance. What may not be here: the vault, pages.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from valetkey.errors import InvalidInput
from valetkey.vault.connect import PENDING_SECONDS

BEGUN_OF_ONE: Final = 100
BEGUN_MOST: Final = 1000
"""Of one browser, and of all. A person who connects many accounts in a row needs some seconds for each."""

SCOPES_LONGEST: Final = 4096
"""Characters of the scopes that a page takes; the longest known lists have half as many."""


class Allowance:
    """Count what was begun, until nobody can answer it any more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: deque[tuple[float, str]] = deque()  # in the order of time
        self._of: Counter[str] = Counter()

    def take(self, browser: str) -> int:
        """Count one more of a browser and return 0, or return in how many seconds there will be room for one."""
        now = self._clock()
        while self._begun and self._begun[0][0] <= now - PENDING_SECONDS:
            _at, whose = self._begun.popleft()
            self._of[whose] -= 1
            if not self._of[whose]:
                del self._of[whose]
        if self._of[browser] >= BEGUN_OF_ONE:
            oldest = next(at for at, whose in self._begun if whose == browser)
        elif len(self._begun) >= BEGUN_MOST:
            oldest = self._begun[0][0]
        else:
            self._begun.append((now, browser))
            self._of[browser] += 1
            return 0
        return int(oldest + PENDING_SECONDS - now) + 1


def too_many(seconds: int) -> InvalidInput:
    """Return the error of who has begun too much."""
    return InvalidInput(
        "too many logins were begun and not finished",
        code="too_many_begun",
        cause="each is kept for ten minutes, until its answer comes",
        fix=f"finish one of them, or come back in {seconds} seconds",
    )


def checked_scopes(text: str) -> str:
    """Return scopes as a page was given them; raises InvalidInput for more than anybody means."""
    if len(text) > SCOPES_LONGEST:
        raise InvalidInput("the list of scopes is too long", fix=f"at most {SCOPES_LONGEST} characters")
    return text
