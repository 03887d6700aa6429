"""After the faults: everything must come to rest, every connection be usable or say truly why it is not.

What may not be here: faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulation.callers import get, obtained
from simulation.house import ROTATES, START
from simulation.keys import readable
from simulation.knowledge import Violation, refresh_of
from simulation.telling import tell_all
from valetkey.vault.judge import Demand
from valetkey.vault.names import CONNECTIONS
from valetkey.vault.schedule import tend

if TYPE_CHECKING:
    from simulation.engine import Engine
    from simulation.house import Replica

QUIET: Final = 800.0
"""Seconds after which every backoff and every lease is over: the longest backoff is 300, the longest Retry-After 90."""

ASKING: Final = 120.0
"""Seconds that asking for every token may take."""


def come_to_rest(engine: Engine) -> None:
    """Let the clocks agree, start every replica, ask for every token; raises Violation."""
    skew = engine.watch.truth.skew
    for replica in engine.replicas:
        replica.skew, replica.down_until = 0.0, 0.0
        engine.start(replica)
    engine.run()
    for force in (False, True):
        engine.now += QUIET + 2 * skew
        engine.now += _past_rotation(engine.now)
        for place in engine.world.places:
            for replica in engine.replicas:
                _ask(engine, replica.number, place, force=force)
                engine.run()
    for place in engine.world.places:
        for replica in engine.replicas:
            _tend(engine, replica, place)
        _judge(engine, place)
    for replica in engine.replicas:
        if replica.folder:
            raise Violation("no_rest", f"still spilled: {', '.join(replica.folder)}")
    readable(engine.world.store, engine.world.all_names(), engine.now)
    tell_all(engine)


def _past_rotation(moment: float) -> float:
    """Return how long to wait so that no client secret is rotated while the vault comes to rest.

    A secret that is rotated just after it was fetched is refused until it may be fetched again: trouble of half a
    minute, which ends by itself and is no rest.
    """
    left = ROTATES - (moment - START) % ROTATES
    return left + 1.0 if left < ASKING else 0.0


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


def _tend(engine: Engine, replica: Replica, place: str) -> None:
    """Look once more at a connection, as the refresher does, so that what is to be told is put down."""
    task = engine.task(replica, -10 - replica.number, "keep", place)
    task.key = ("keep", place)
    replica.flights[task.key] = task
    task.plan = tend(replica.desk, place)
    engine.go(task)
    engine.run()


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
    engine.watch.news.at_rest(connection, engine.now)
