"""Crash at every question of every plan, for every manner of provider, and see what the user sees afterwards.

A plan is dropped at its k-th question, once before the effect took place and once after; then a new process starts on
what the store and the spill folder hold. What may not be here: the words of the page (docs/_crashes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from simulation.house import CALLBACK, START, Instant, World, redirect
from simulation.manners import MANNERS
from simulation.scenario import Place, Scenario
from valetkey.effects import Load, Luck, Note, Now, Resolve, Send, Sleep, Spilled, Swap
from valetkey.errors import NeedsReconnect, NotFound, StoreUnavailable, ValetkeyError
from valetkey.run import run
from valetkey.values import Secret
from valetkey.vault import connect, device, disconnect, recover, renew
from valetkey.vault.connect import Wish
from valetkey.vault.desk import Desk
from valetkey.vault.judge import Demand

FORCE: Final = Demand(force=True)
LATER: Final = 400.0
"""Seconds until the new process asks: the lease has lapsed, and any backoff is over."""

Plan = Generator[Any, Any, Any]


@dataclass(frozen=True)
class Case:
    """Be a plan to crash in: what it needs first, the plan itself, and what the user sees when it was dropped."""

    name: str
    begin: Callable[[World], Any]
    plan: Callable[[World, Any], Plan]
    seen: Callable[[World, Any], str]
    connected: bool = True
    machine: bool = False
    elsewhere: bool = False  # whether the client secret is kept in a secret manager


@dataclass(frozen=True)
class Crash:
    """Be one crash: at which question, whether its effect had taken place, and what was seen."""

    k: int
    question: str
    after: bool
    seen: str


def crashes(case: Case, manner: str) -> Iterator[Crash]:
    """Give every crash of a plan at a provider of one manner."""
    k = 0
    while True:
        k += 1
        for after in (False, True):
            found = _crash(case, manner, k, after=after)
            if found is None:
                return
            yield found


def _world(case: Case, manner: str) -> World:
    place = Place(name=f"{manner.replace('_', '-')}/c", manner=manner, machine=case.machine, connected=case.connected)
    return _made(replace(place, elsewhere=case.elsewhere)).copied()


@cache
def _made(place: Place) -> World:
    """Return the world that each crash is given a copy of."""
    return World(Scenario(seed=0, places=(place,), callers=()))


def _crash(case: Case, manner: str, k: int, *, after: bool) -> Crash | None:
    world = _world(case, manner)
    ready = case.begin(world)
    plan = case.plan(world, ready)
    moment = instant(world, 20.0)
    question = next(plan)
    for _ in range(k - 1):
        try:
            question = _step(plan, moment, question)
        except StopIteration:
            return None
    if after:
        with suppress(ValetkeyError):
            moment.answer(question)
    plan.close()
    return Crash(k, told(question), after, case.seen(world, ready))


def uncrashed(case: Case, manner: str) -> Any:
    """Run a plan to its end, and return what it came to."""
    world = _world(case, manner)
    return run(case.plan(world, case.begin(world)), instant(world, 20.0))


def _step(plan: Plan, instant: Instant, question: Any) -> Any:
    try:
        answer = instant.answer(question)
    except ValetkeyError as refusal:
        return plan.throw(refusal)
    return plan.send(answer)


def name_of(world: World) -> str:
    return next(iter(world.places))


def instant(world: World, seconds: float) -> Instant:
    return Instant(world, name_of(world), START + seconds)


def told(question: Any) -> str:  # noqa: PLR0911  # a line for each question
    """Return a question as a row of the table begins."""
    match question:
        case Load(name):
            return f"load {_called(name)}"
        case Swap(name, _, entry):
            return f"swap {_called(name)}" + (" (forget it)" if entry is None else "")
        case Note(event):
            return f"log `{event.kind}`"
        case Send(request):
            return f"send to the {request.url.rsplit('/', 1)[-1]} endpoint"
        case Now():
            return "ask the time"
        case Luck():
            return "draw luck"
        case Sleep():
            return "wait"
        case Resolve():
            return "look up the client secret"
        case Spilled():
            return "look for what was spilled"
        case _:
            return "spill"


def _called(name: str) -> str:
    room = name.partition("/")[0]
    return {
        "notify": "who listens",
        "schedule": "the survey",
        "notice": "the news",
        "publish": "the publication",
    }.get(room, f"the {room}")


# ── what the user sees ────────────────────────────────────────────────────────────────────────────────────────────


def start_anew(world: World) -> None:
    """Start a process: bring home what was spilled, as recover.bring_home does."""
    for record, entry in list(world.folder.items()):
        with suppress(ValetkeyError):
            if run(recover.recover(world.desk, record, entry), instant(world, LATER)):
                del world.folder[record]


def next_token(world: World, desk: Desk | None = None) -> str:
    """Ask for a new token, as the next caller does; by a desk of its own where the world's remembers too much."""
    start_anew(world)
    try:
        run(renew.obtain(desk or world.desk, name_of(world), FORCE), instant(world, LATER))
    except NeedsReconnect as lost:
        return f"reconnect: `{lost.reason}`"
    except NotFound:
        return "not connected"
    return "a token"


def _refreshed(world: World, _ready: Any) -> str:
    return next_token(world)


def _after_connect(world: World, ready: Any) -> str:
    """Load the page once more; if that is refused, see whether the connection is there."""
    seen = next_token(world)
    if seen == "a token":
        return "connected"
    answer, binding = ready
    try:
        run(connect.finish(world.desk, answer, binding=binding), instant(world, LATER))
    except ValetkeyError as refusal:
        return f"connect again: `{refusal.code}`"
    return "connected when the page is loaded again"


def _after_device(world: World, _ready: Any) -> str:
    return "connected" if next_token(world) == "a token" else "connect again"


def _after_machine(world: World, _ready: Any) -> str:
    if next_token(world) == "a token":
        return "connected"
    plan = connect.connect_machine(world.desk, name_of(world), wish(world), "client_credentials")
    run(plan, instant(world, LATER))
    return "connected when it is done again"


def _after_disconnect(world: World, _ready: Any) -> str:
    """Look whether it is gone; if it is not, disconnect once more."""
    if world.store.load(f"connection/{name_of(world)}") is None:
        return "gone"
    grant = world.provider(name_of(world)).grants[0]
    still = "works still" if grant.alive(START + LATER) else "no longer works"
    outcome = run(disconnect.disconnect(world.desk, name_of(world)), instant(world, LATER))
    return f"there, {still}; gone when it is done again ({outcome})"


def _recovered(world: World, _ready: Any) -> str:
    seen = next_token(world)
    return seen if not world.folder else f"{seen}, and something is still spilled"


# ── the plans ─────────────────────────────────────────────────────────────────────────────────────────────────────


def wish(world: World) -> Wish:
    return Wish(scopes=(name_of(world),))


def _begin_connect(world: World) -> tuple[Secret, Secret]:
    binding = Secret("binding")
    plan = connect.begin(world.desk, name_of(world), wish(world), redirect_uri=CALLBACK, binding=binding)
    started = run(plan, instant(world, 1.0))
    return redirect(started.url, world.provider(name_of(world)).consent(name_of(world), START)), binding


def _begin_device(world: World) -> Any:
    return run(device.begin_device(world.desk, name_of(world), wish(world)), instant(world, 1.0))


class _Full(Instant):
    """Be a world whose store cannot be written any more once a request was sent."""

    sent = False

    def answer(self, question: Any, /) -> Any:
        """Answer one question; raises StoreUnavailable."""
        self.sent = self.sent or isinstance(question, Send)
        if self.sent and isinstance(question, Swap):
            raise StoreUnavailable("the disk is full")
        return super().answer(question)


def _begin_recover(world: World) -> Any:
    """Spill a token, and say which."""
    run(renew.obtain(world.desk, name_of(world), FORCE), _Full(world, name_of(world), START + 10.0))
    ((record, entry),) = world.folder.items()
    return record, entry


CASES: Final = (
    Case("A refresh", lambda _: None, lambda world, _: renew.obtain(world.desk, name_of(world), FORCE), _refreshed),
    Case(
        "A refresh with a client secret kept elsewhere",
        lambda _: None,
        lambda world, _: renew.obtain(world.desk, name_of(world), FORCE),
        _refreshed,
        elsewhere=True,
    ),
    Case(
        "Finishing a connect",
        _begin_connect,
        lambda world, ready: connect.finish(world.desk, ready[0], binding=ready[1]),
        _after_connect,
        connected=False,
    ),
    Case(
        "Finishing a device flow",
        _begin_device,
        lambda world, started: device.finish_device(world.desk, started),
        _after_device,
        connected=False,
    ),
    Case(
        "Connecting a machine",
        lambda _: None,
        lambda world, _: connect.connect_machine(world.desk, name_of(world), wish(world), "client_credentials"),
        _after_machine,
        connected=False,
        machine=True,
    ),
    Case(
        "Disconnecting",
        lambda _: None,
        lambda world, _: disconnect.disconnect(world.desk, name_of(world)),
        _after_disconnect,
    ),
    Case(
        "Bringing home what was spilled",
        _begin_recover,
        lambda world, ready: recover.recover(world.desk, *ready),
        _recovered,
    ),
)


def table(case: Case) -> list[tuple[tuple[str, ...], list[Crash]]]:
    """Return the crashes of a plan, manners that see the same put together."""
    found: dict[tuple[Crash, ...], list[str]] = {}
    for manner in MANNERS:
        found.setdefault(tuple(crashes(case, manner)), []).append(manner)
    return [(tuple(manners), list(seen)) for seen, manners in found.items()]
