"""What callers want, as plans: each script is what the keeper does for one of its verbs (vault/keeper.py).

Work that must outlive its caller is joined, as flights.py does. What may not be here: clocks and faults.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from simulation.answers import Join
from simulation.house import CALLBACK, Task, moment, redirect
from simulation.keys import quietly, resealing, retiring
from simulation.knowledge import Violation
from simulation.telling import carry
from valetkey.effects import load, now, sleep
from valetkey.errors import ValetkeyError
from valetkey.values import Secret
from valetkey.vault import connect, device, disconnect, names, recover, renew
from valetkey.vault.connect import Wish
from valetkey.vault.judge import Demand, Serve, glance
from valetkey.vault.schedule import tend

if TYPE_CHECKING:
    from simulation.engine import Engine

Script = Generator[Any, Any, Any]

SWEPT: Final = 20
RESOURCE: Final = "https://other.test"


def get(engine: Engine, task: Task, demand: Demand) -> Script:
    """Get a token: at once if there is a fresh one, else by the refresh that all callers of this replica share."""
    desk = task.replica.desk
    task.part = demand.part
    entry = yield from load(names.connection_record(task.place))
    served = glance(desk, task.place, entry, (yield from now()).timestamp(), demand)
    if served is None:
        key = ("obtain", task.place, demand)
        served = yield Join(key, "obtain", lambda flight: obtained(engine, flight, demand))
    if demand.rejected and served.token.fingerprint() == demand.rejected:
        raise Violation("rejected_again", f"{task.title} was given the very token it had seen refused")
    return served


def obtained(engine: Engine, flight: Task, demand: Demand) -> Script:
    """Bring home what was spilled, then obtain: what Keeper._obtained does."""
    flight.part = demand.part
    yield from brought_home(engine, flight)
    return (yield from renew.obtain(flight.replica.desk, flight.place, demand))


def brought_home(engine: Engine, task: Task) -> Script:
    """Do what recover.bring_home does, question by question."""
    folder = task.replica.folder
    for record, entry in list(folder.items()):
        with suppress(ValetkeyError):
            if quietly(task.replica.keys, entry) is None:
                continue
            if (yield from recover.recover(task.replica.desk, record, entry)):
                folder.pop(record, None)
                engine.watch.came_home(task, record, entry)


def at_start(engine: Engine, task: Task) -> Script:
    """Start a process."""
    yield from brought_home(engine, task)


def _token(engine: Engine, task: Task) -> Script:
    return (yield from get(engine, task, Demand()))


def _target(engine: Engine, task: Task) -> Script:
    """Get a token for another API of the same grant (Microsoft)."""
    return (yield from get(engine, task, Demand(part=f"resource={RESOURCE}")))


def _force(engine: Engine, task: Task) -> Script:
    return (yield from get(engine, task, Demand(force=True)))


def _rejected(engine: Engine, task: Task) -> Script:
    served: Serve = yield from get(engine, task, Demand())
    yield from sleep(0.2)
    return (yield from get(engine, task, Demand(rejected=served.token.fingerprint())))


def _connect(engine: Engine, task: Task, *, twice: bool = False) -> Script:
    """Send a person away and take what comes back; `twice`: the page is loaded again."""
    world = engine.world
    wish = Wish(scopes=(task.place,))
    if world.places[task.place].machine:
        plan = connect.connect_machine(task.replica.desk, task.place, wish, "client_credentials")
        return (yield Join(("machine", task.caller), "machine", lambda _: plan))
    binding = Secret(f"binding of {task.caller}")
    started = yield from connect.begin(task.replica.desk, task.place, wish, redirect_uri=CALLBACK, binding=binding)
    yield from sleep(2.0 + (task.draw() & 7))
    answer = redirect(started.url, world.provider(task.place).consent(task.place, engine.now))
    if twice:
        again = engine.task(task.replica, task.caller, "reload", task.place)
        again.plan = _finish(engine, again, answer, binding)
        engine.push(engine.now + 0.001, engine.go, again)
    return (yield from _finish(engine, task, answer, binding))


def _finish(engine: Engine, task: Task, answer: Secret, binding: Secret) -> Script:
    plan = connect.finish(task.replica.desk, answer, binding=binding)
    return (yield Join(("finish", object()), "finish", lambda _: plan))


def _twice(engine: Engine, task: Task) -> Script:
    return (yield from _connect(engine, task, twice=True))


def _device(engine: Engine, task: Task) -> Script:
    """Connect by a code that is typed elsewhere."""
    desk = task.replica.desk
    started = yield from device.begin_device(desk, task.place, Wish(scopes=(task.place,)))
    plan = device.finish_device(desk, started)
    return (yield Join(("device", task.caller), "polling", lambda _: plan))


def _disconnect(engine: Engine, task: Task) -> Script:
    force = task.draw() & 3 == 0
    plan = disconnect.disconnect(task.replica.desk, task.place, force=force)
    return (yield Join(("disconnect", task.place), "disconnect", lambda _: plan))


def _revoke(engine: Engine, task: Task) -> Script:
    return (yield from disconnect.mark_revoked(task.replica.desk, task.place))


def _sweep(engine: Engine, task: Task) -> Script:
    """Forget old pending authorizations, as Keeper.sweep does."""
    due = engine.world.store.due(names.PENDING, moment(engine.now + task.replica.skew), SWEPT)
    count = 0
    for record in due:
        count += yield from connect.forget_expired(record)
    return count


def _keep(engine: Engine, task: Task) -> Script:
    """Do what the refresher does when a connection falls due: tend it, then carry the news there is (refresher.py)."""
    yield from brought_home(engine, task)
    tended = yield Join(("keep", task.place), "keep", lambda _: tend(task.replica.desk, task.place))
    yield from carry(engine, task)
    return tended


SCRIPTS: Final[dict[str, Callable[[Engine, Task], Script]]] = {
    "token": _token,
    "target": _target,
    "force": _force,
    "rejected": _rejected,
    "connect": _connect,
    "connect_twice": _twice,
    "device": _device,
    "disconnect": _disconnect,
    "revoke": _revoke,
    "sweep": _sweep,
    "keep": _keep,
    "carry": carry,
    "reseal": resealing,
    "retire": retiring,
}
