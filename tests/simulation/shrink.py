"""Make a failing scenario small: leave out callers, faults and connections as long as it fails by the same rule.

What may not be here: how a scenario is played (play.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from simulation.play import play
from simulation.scenario import Scenario

_PARTS: Final = ("spells", "hits", "callers", "places")


def shrink(scenario: Scenario, fails: Callable[[Scenario], str] | None = None) -> Scenario:
    """Return a scenario that fails by the same rule and has nothing in it that can be left out."""
    check = fails or _rule
    rule = check(scenario)
    assert rule, "there is nothing to shrink"
    smaller = True
    while smaller:
        smaller = False
        for part in _PARTS:
            cut = _cut(scenario, part, lambda tried: check(tried) == rule)
            smaller = smaller or cut is not scenario
            scenario = cut
    return scenario


def _rule(scenario: Scenario) -> str:
    _steps, violation = play(scenario)
    return violation.rule if violation is not None else ""


def _cut(scenario: Scenario, part: str, fails: Callable[[Scenario], bool]) -> Scenario:
    """Leave out as much of one part as can be, first by halves and in the end one by one."""
    size = max(1, len(getattr(scenario, part)) // 2)
    while True:
        start = 0
        while start < len(getattr(scenario, part)):
            tried = _without(scenario, part, start, size)
            if tried is not None and fails(tried):
                scenario = tried
            else:
                start += size
        if size == 1:
            return scenario
        size //= 2


def _without(scenario: Scenario, part: str, start: int, size: int) -> Scenario | None:
    items: tuple[Any, ...] = getattr(scenario, part)
    kept = items[:start] + items[start + size :]
    if part != "places":
        return replace(scenario, **{part: kept})
    names = {place.name for place in kept}
    if not names or any(item.place not in names for item in (*scenario.callers, *scenario.hits)):
        return None
    return replace(scenario, places=kept, spells=tuple(spell for spell in scenario.spells if spell.place in names))
