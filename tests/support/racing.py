"""Workers of the refresh race: processes with threads, and processes with an event loop, on one vault.

Each worker opens the vault for itself and waits at a barrier; then all ask for the same expired connection at once.
"""

from __future__ import annotations

import asyncio
import faulthandler
import multiprocessing
import os
import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 90
STUCK = 60
COROUTINES = 8

PRELOADED = ["pytest", "valetkey.library", "valetkey.vault.renew", "valetkey.transport.wire"]
"""What processes share with the one they are forked from: starting Python anew would take most of the time."""


@dataclass(frozen=True)
class Race:
    """Be where and how often to run: `rounds` times, `threads` in each process."""

    path: str
    name: str
    rounds: int
    threads: int
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))  # of the test, not of who forks

    def begin(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        faulthandler.enable()
        faulthandler.dump_traceback_later(STUCK, exit=False)  # a race that hangs says where


def threads_worker(race: Race, barrier: Any, results: Any) -> None:
    import valetkey

    race.begin()
    vault = valetkey.open(race.path, create=False)
    for _ in range(race.rounds):
        got: list[str] = []
        start = threading.Barrier(race.threads)
        vault._opened.clear()

        def ask(got=got, start=start) -> None:
            start.wait(PATIENCE)
            got.append(outcome(lambda: vault.token(race.name).fingerprint()))

        workers = [threading.Thread(target=ask) for _ in range(race.threads)]
        barrier.wait(PATIENCE)
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        results.put(got)
        barrier.wait(PATIENCE)
    vault.close()


def async_worker(race: Race, barrier: Any, results: Any) -> None:
    import valetkey

    async def ask(vault) -> str:
        try:
            return (await vault.token(race.name)).fingerprint()
        except valetkey.errors.ValetkeyError as refusal:
            return f"{refusal.code}: {refusal}"

    race.begin()

    async def main() -> None:
        async with valetkey.open_async(race.path, create=False) as vault:
            for _ in range(race.rounds):
                vault.sync._opened.clear()
                await asyncio.to_thread(barrier.wait, PATIENCE)
                results.put(list(await asyncio.gather(*(ask(vault) for _ in range(COROUTINES)))))
                await asyncio.to_thread(barrier.wait, PATIENCE)

    asyncio.run(main())


def outcome(work) -> str:
    import valetkey

    try:
        return work()
    except valetkey.errors.ValetkeyError as refusal:
        return f"{refusal.code}: {refusal}"


def _heard(results: Any, workers: list[Any]) -> list[str]:
    """Wait for what one worker got, and not for one that has died."""
    for _ in range(PATIENCE):
        try:
            return results.get(timeout=1)
        except queue.Empty:
            dead = [worker.exitcode for worker in workers if worker.exitcode is not None]
            assert not dead, f"workers ended with {dead}"
    raise AssertionError("the workers do not come to an end")


def run_race(
    path: Path | str, name: str, *, processes: int, threads: int, loops: int, rounds: int, each_round
) -> list[set[str]]:
    """Run the race; `each_round()` is called before each round. Return what was handed out in each round."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    barrier = context.Barrier(processes + loops + 1)
    results = context.Queue()
    race = Race(str(path), name, rounds, threads)
    workers = [context.Process(target=threads_worker, args=(race, barrier, results)) for _ in range(processes)]
    workers += [context.Process(target=async_worker, args=(race, barrier, results)) for _ in range(loops)]
    for worker in workers:
        worker.start()
    rounds_seen = []
    try:
        for _ in range(rounds):
            each_round()
            barrier.wait(PATIENCE)
            seen = [_heard(results, workers) for _ in workers]
            assert sum(map(len, seen)) == processes * threads + loops * COROUTINES
            rounds_seen.append({token for tokens in seen for token in tokens})
            barrier.wait(PATIENCE)
    except BaseException:
        barrier.abort()
        raise
    finally:
        for worker in workers:
            worker.join(PATIENCE)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    return rounds_seen
