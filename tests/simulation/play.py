"""Play episodes: one, or as many as a number of steps needs; on one core or on two.

What may not be here: what an episode is (scenario.py), how it is made small (shrink.py).
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from simulation.engine import Engine, calm_collector
from simulation.knowledge import Violation
from simulation.rest import come_to_rest
from simulation.scenario import Scenario, generate
from valetkey.vault import judge

LOOK_AGAIN: Final = 1.0
"""Seconds between two looks at a foreign lease, here; with the real 0.05 most steps of a run would be such looks."""

_MASK: Final = (1 << 63) - 1


@dataclass
class Result:
    """Be what a run of episodes came to."""

    steps: int = 0
    episodes: int = 0
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Result) -> None:
        """Add another run, on another core at the same time."""
        self.steps += other.steps
        self.episodes += other.episodes
        self.seconds = max(self.seconds, other.seconds)
        self.seen += other.seen
        self.failed += other.failed


def play(
    scenario: Scenario, *, trace: list[str] | None = None, seen: Counter[str] | None = None
) -> tuple[int, Violation | None]:
    """Play one episode to its rest; return its steps, and what did not hold."""
    look = judge.LOOK_AGAIN
    judge.LOOK_AGAIN = LOOK_AGAIN
    engine = Engine(scenario, trace=trace, seen=seen)
    try:
        engine.play()
        come_to_rest(engine)
    except Violation as violation:
        if trace is not None:
            trace.append(f"{engine.clock()}  ✗ {violation}")
        return engine.steps, violation
    finally:
        judge.LOOK_AGAIN = look
    return engine.steps, None


def episode_seed(seed: int, number: int) -> int:
    """Return the seed of the n-th episode of a run."""
    return (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9) & _MASK


def play_many(seed: int, steps: int, *, first: int = 0, stride: int = 1, failures: int = 1) -> Result:
    """Play episodes until so many steps are done or so many episodes have failed."""
    calm_collector()
    result = Result()
    began = time.perf_counter()
    number = first
    while result.steps < steps and len(result.failed) < failures:
        episode = episode_seed(seed, number)
        taken, violation = play(generate(episode), seen=result.seen)
        result.steps += taken
        result.episodes += 1
        if violation is not None:
            result.failed.append((episode, str(violation)))
        number += stride
    result.seconds = time.perf_counter() - began
    return result
