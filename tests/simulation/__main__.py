"""Run the simulation: `python -m simulation --seed 7 --steps 2000000`; replay one episode with `--episode`.

Prints the seed first, so that a run that fails can be had again, and what happened how often, so that a reader sees
that it exercises things. A failure is shrunk and shown as a trace.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys
from collections import Counter
from collections.abc import Iterator

from simulation.mutants import BY_NAME, MUTANTS, Mutant, caught, plant
from simulation.play import Result, play, play_many
from simulation.scenario import Scenario, generate
from simulation.shrink import shrink

STEPS = 2_000_000


def main() -> int:
    """Return 0 if nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m simulation")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--episode", type=int, help="replay one episode, by the seed that a failure names")
    parser.add_argument("--mutants", action="store_true", help="plant the bugs of mutants.py, one after the other")
    parser.add_argument("--plant", metavar="BUG", choices=sorted(BY_NAME), help="plant one of them, and show the trace")
    asked = parser.parse_args()
    if asked.episode is not None:
        return _replay(generate(asked.episode))
    seed = asked.seed if asked.seed is not None else secrets.randbits(32)
    say(f"seed {seed}")
    if asked.mutants:
        return _mutants(seed, asked.steps)
    if asked.plant is not None:
        return _planted(BY_NAME[asked.plant], seed, asked.steps)
    result = _run(seed, asked.steps, asked.jobs)
    for line in told(result):
        say(line)
    for episode, violation in result.failed[:1]:
        say(f"\nepisode {episode} fails: {violation}\nshrunk:")
        _replay(shrink(generate(episode)))
    return 1 if result.failed else 0


def _run(seed: int, steps: int, jobs: int) -> Result:
    if jobs == 1:
        return play_many(seed, steps)
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        calls = [pool.apply_async(play_many, (seed, steps // jobs), {"first": n, "stride": jobs}) for n in range(jobs)]
        total = Result()
        for call in calls:
            total.add(call.get())
    return total


def _replay(scenario: Scenario) -> int:
    trace: list[str] = []
    _steps, violation = play(scenario, trace=trace)
    for part in (*scenario.places, *scenario.hits, *scenario.spells, *folded(trace)):
        say(str(part))
    return 1 if violation is not None else 0


def _mutants(seed: int, steps: int) -> int:
    missed = 0
    for mutant in MUTANTS:
        result = caught(mutant, seed, steps)
        missed += not result.failed
        rule = result.failed[0][1].partition(":")[0] if result.failed else "NOT CAUGHT"
        say(f"| {mutant.name} | {mutant.about} | {result.steps:,} | {rule} |")
    return 1 if missed else 0


def _planted(mutant: Mutant, seed: int, steps: int) -> int:
    """Show how one planted bug is found: the rule it breaks, and the least that is needed for it."""
    with plant(mutant):
        result = play_many(seed, steps)
        if not result.failed:
            say(f"not caught in {result.steps:,} steps")
            return 1
        episode, violation = result.failed[0]
        say(f"{mutant.name}: {mutant.about}\nfound after {result.steps:,} steps, in episode {episode}: {violation}\n")
        _replay(shrink(generate(episode)))
    return 0


def told(result: Result) -> Iterator[str]:
    """Yield what a run came to, line by line."""
    yield f"{result.steps:,} steps in {result.episodes:,} episodes, {result.steps / result.seconds:,.0f} steps/s"
    rooms: dict[str, Counter[str]] = {}
    for name, count in result.seen.items():
        room, _, rest = name.partition(" ")
        rooms.setdefault(room.rstrip(":"), Counter())[rest or "-"] += count
    for room, counts in sorted(rooms.items()):
        yield f"  {room:<16} " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    yield f"{len(result.failed)} violations"


def folded(trace: list[str]) -> Iterator[str]:
    """Leave out of a trace what tells nothing: clocks, luck, and looks that find what the look before them found."""
    last: dict[str, str] = {}
    for line in trace:
        who, what = line[14:42], line[42:].strip()
        if what.startswith(("now", "luck", "slept")):
            continue
        if what.startswith("load") and last.get(who) == what:
            continue
        last[who] = what
        yield line


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
