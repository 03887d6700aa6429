"""After the faults: everything must come to rest, every connection be usable or say truly why it is not.

What may not be here: faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulation.callers import get, obtained
from simulation.knowledge import refresh_of
from simulation.watch import Violation
from valetkey.vault.judge import Demand
from valetkey.vault.names import CONNECTIONS

if TYPE_CHECKING:
    from simulation.engine import Engine

QUIET: Final = 800.0
"""Seconds after which every backoff and every lease is over: the longest backoff is 300, the longest Retry-After 90."""


def come_to_rest(engine: Engine) -> None:
    """Let the clocks agree, start every replica, ask for every token; raises Violation."""
    skew = engine.watch.skew
    for replica in engine.replicas:
        replica.skew, replica.down_until = 0.0, 0.0
        engine.start(replica)
    engine.run()
    for force in (False, True):
        engine.now += QUIET + 2 * skew
        for place in engine.world.places:
            for replica in engine.replicas:
                _ask(engine, replica.number, place, force=force)
                engine.run()
    for place in engine.world.places:
        _judge(engine, place)
    for replica in engine.replicas:
        if replica.folder:
            raise Violation("no_rest", f"still spilled: {', '.join(replica.folder)}")


def _ask(engine: Engine, number: int, place: str, *, force: bool) -> None:
    replica = engine.replicas[number]
    task = engine.task(replica, -10 - number, "last" if force else "late", place)
    if force:
        task.kind, task.key = "obtain", ("last", place)
        replica.flights[task.key] = task
        task.plan = obtained(engine, task, Demand(force=True))
    else:
        task.plan = get(engine, task, Demand())
    engine.go(task)


def _judge(engine: Engine, place: str) -> None:
    """Check the state in which a connection rests."""
    entry = engine.world.store.load(CONNECTIONS + place)
    if entry is None:
        return
    connection = engine.world.desk.connection(place, entry)
    state = connection.state(engine.now)
    engine.seen[f"rests {state}"] += 1
    if state not in {"active", "revoked", "needs_reconnect"} or connection.lease is not None:
        raise Violation("no_rest", f"{place} rests as {state}")
    if state == "needs_reconnect":
        name = refresh_of(connection)
        if name and engine.world.provider(place).usable(name, engine.now):
            raise Violation("needless", f"{place} needs a person, and {name} is still good")
