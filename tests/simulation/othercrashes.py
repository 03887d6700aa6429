"""Crash at every question of the plans beside refreshing and connecting: starting, the schedule, news, apps.

What may not be here: how a crash is made (crashes.py).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from simulation.crashes import CASES, FORCE, LATER, Case, Plan, instant, name_of, next_token, start_anew, wish
from simulation.house import CALLBACK, START, World, redirect
from simulation.keycrashes import KEYS
from simulation.publishedcrashes import PUBLISHED
from simulation.secretcrashes import SECRETS
from valetkey.effects import sleep
from valetkey.errors import AlreadyExists, ConnectionUnusable, NotFound, Revoked, ValetkeyError
from valetkey.run import run
from valetkey.values import Secret
from valetkey.vault import connect, device, disconnect, names, notices, registry, renew, schedule
from valetkey.vault.judge import Demand
from valetkey.vault.notices import Listener, Outcome
from valetkey.vault.records import App, Trouble
from valetkey.vault.webhook import new_secret

TARGET: Final = Demand(part="resource=https://other.test", force=True)
BINDING: Final = Secret("binding")


# ── a token for another target ────────────────────────────────────────────────────────────────────────────────────


def _after_target(world: World, _ready: Any) -> str:
    """Ask for the token of the target, and then for the connection's own: both hang on one refresh token."""
    start_anew(world)
    try:
        for demand in (TARGET, FORCE):
            run(renew.obtain(world.desk, name_of(world), demand), instant(world, LATER))
    except ConnectionUnusable as lost:
        return f"reconnect: `{lost.evidence.get('reason', lost.code)}`"
    return "a token"


# ── starting ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _begun(world: World) -> Plan:
    return connect.begin(world.desk, name_of(world), wish(world), redirect_uri=CALLBACK, binding=BINDING)


def _after_begin(world: World, _ready: Any) -> str:
    """Ask for another link, and consent by it."""
    started = run(_begun(world), instant(world, LATER))
    answer = redirect(started.url, world.provider(name_of(world)).consent(name_of(world), START))
    run(connect.finish(world.desk, answer, binding=BINDING), instant(world, LATER))
    left = len(world.store.names(names.PENDING, "", 10)) - 1
    return "another link works" + ("; the one nobody saw is swept after ten minutes" if left else "")


def _after_begin_device(world: World, _ready: Any) -> str:
    started = run(device.begin_device(world.desk, name_of(world), wish(world)), instant(world, LATER))
    run(device.finish_device(world.desk, started), instant(world, LATER))
    return "another code works"


def _old_link(world: World) -> str:
    """Begin a connect that nobody finishes, so long ago that its link has expired."""
    run(_begun(world), instant(world, LATER - connect.PENDING_SECONDS - 500.0))
    (record,) = world.store.names(names.PENDING, "", 10)
    return record


def _after_sweep(world: World, record: str) -> str:
    done = run(connect.forget_expired(record), instant(world, LATER))
    return "forgotten at the next look" if done else "forgotten"


# ── ending ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _after_revoke(world: World, _ready: Any) -> str:
    try:
        next_token(world)
    except Revoked:
        return "revoked"
    run(disconnect.mark_revoked(world.desk, name_of(world)), instant(world, LATER))
    with suppress(Revoked):
        return next_token(world)
    return "works still; revoked when it is done again"


# ── the schedule and its news ─────────────────────────────────────────────────────────────────────────────────────


def _fall_due(world: World) -> None:
    """Let the tokens be due now."""
    record = names.connection_record(name_of(world))
    entry = world.store.load(record)
    assert entry is not None
    held = world.desk.connection(name_of(world), entry)
    assert held.tokens is not None
    spent = msgspec.structs.replace(held.tokens, obtained_at=START - 7200.0, expires_at=START)
    world.store.swap(record, entry.version, world.desk.seal_connection(replaced(held, tokens=spent), START))


def replaced(held: Any, **changes: Any) -> Any:
    """Return a record with changes."""
    return msgspec.structs.replace(held, **changes)


def _be_refused(world: World) -> None:
    """Let the provider have refused for good, and nobody have been told."""
    record = names.connection_record(name_of(world))
    entry = world.store.load(record)
    assert entry is not None
    held = world.desk.connection(name_of(world), entry)
    trouble = Trouble(sort="grant", code="invalid_grant", reason="invalid_grant", message="refused", at=START)
    world.store.swap(record, entry.version, world.desk.seal_connection(replaced(held, trouble=trouble), START))


def _tended(world: World, _ready: Any) -> Plan:
    return schedule.tend(world.desk, name_of(world))


def _after_tending(world: World, ready: Any) -> str:
    """Let the schedule look once more, then ask for a token."""
    start_anew(world)
    run(_tended(world, ready), instant(world, LATER))
    told = len(world.store.names(names.NOTICES, "", 10))
    seen = next_token(world)
    return seen if seen == "a token" else f"{seen}, {'told' if told == 1 else f'told of {told} times'}"


def _after_telling(world: World, ready: Any) -> str:
    run(_tended(world, ready), instant(world, LATER))
    waiting = len(world.store.names(names.NOTICES, "", 10))
    entry = world.store.load(names.connection_record(name_of(world)))
    told = world.desk.connection(name_of(world), entry).told
    return f"waits to be told {waiting} time{'s' * (waiting != 1)}, and is not put down again" if told else "untold"


@dataclass
class Receiver:
    """Be who listens: what it heard, by identifier."""

    heard: list[str] = field(default_factory=list)


def _put_down(world: World) -> Receiver:
    _be_refused(world)
    run(_tended(world, None), instant(world, 10.0))
    return Receiver()


def _carried(world: World, receiver: Receiver) -> Plan:
    (record,) = world.store.names(names.NOTICES, "", 10)
    errand = yield from notices.take(world.desk, record)
    if errand is None:
        return
    receiver.heard.append(errand.notice.identifier)
    yield from sleep(0.1)  # the receiver takes its time to answer
    yield from notices.settle(world.desk, errand, Outcome(delivered=True, word="http_204"))


def _after_carrying(world: World, receiver: Receiver) -> str:
    run(_carried(world, receiver), instant(world, LATER))
    run(_carried(world, receiver), instant(world, 2 * LATER))
    assert len(set(receiver.heard)) == 1, "a receiver can tell a repetition by its identifier"
    return {1: "told once", 2: "told twice, under one identifier"}[len(receiver.heard)]


def _surveyed(world: World, _ready: Any) -> Plan:
    version = yield from schedule.claim_survey(world.desk)
    if version is None:
        return False
    yield from schedule.survey_connection(world.desk, names.connection_record(name_of(world)), {})
    yield from schedule.end_survey(world.desk, version)
    return True


def _after_survey(world: World, ready: Any) -> str:
    if run(_surveyed(world, ready), instant(world, LATER)):
        return "done at the next look"
    late = run(_surveyed(world, ready), instant(world, schedule.SURVEY_LEASE + LATER))
    return "done by another half an hour later" if late else "done"


# ── apps and who listens ──────────────────────────────────────────────────────────────────────────────────────────


def _another_app(world: World) -> App:
    entry = world.store.load(names.app_record(name_of(world).partition("/")[0]))
    return replaced(world.desk.app(name_of(world).partition("/")[0], entry), name="another")


def _after_adding(world: World, app: App) -> str:
    """Add it again, as a person would who saw no answer."""
    try:
        run(registry.add_app(world.desk, app), instant(world, LATER))
    except AlreadyExists:
        return "there"
    return "there when it is done again"


def _added(world: World) -> App:
    app = _another_app(world)
    run(registry.add_app(world.desk, app), instant(world, 1.0))
    return app


def _after_removing(world: World, app: App) -> str:
    with suppress(NotFound):
        run(registry.remove_app(world.desk, app.name), instant(world, LATER))
        return "gone when it is done again"
    return "gone"


def _listener(_world: World) -> Listener:
    return Listener(name="other", created_at=0.0, url="https://other.test/hook", secret=new_secret(bytes(32)))


def _after_listening(world: World, listener: Listener) -> str:
    try:
        run(notices.add_listener(world.desk, listener), instant(world, LATER))
    except AlreadyExists:
        return "there"
    return "there when it is done again"


def _deaf(world: World) -> Listener:
    return run(notices.add_listener(world.desk, _listener(world)), instant(world, 1.0))


def _after_leaving(world: World, listener: Listener) -> str:
    try:
        run(notices.remove_listener(world.desk, listener.name), instant(world, LATER))
    except ValetkeyError:
        return "gone"
    return "gone when it is done again"


OTHERS: Final = (
    Case(
        "A refresh for another target",
        lambda _: None,
        lambda world, _: renew.obtain(world.desk, name_of(world), TARGET),
        _after_target,
    ),
    Case("A refresh by the schedule", _fall_due, _tended, _after_tending),
    Case("Beginning a connect", lambda _: None, lambda world, _: _begun(world), _after_begin, connected=False),
    Case(
        "Beginning a device flow",
        lambda _: None,
        lambda world, _: device.begin_device(world.desk, name_of(world), wish(world)),
        _after_begin_device,
        connected=False,
    ),
    Case(
        "Forgetting a link that has expired",
        _old_link,
        lambda _world, record: connect.forget_expired(record),
        _after_sweep,
        connected=False,
    ),
    Case(
        "Marking as revoked",
        lambda _: None,
        lambda world, _: disconnect.mark_revoked(world.desk, name_of(world)),
        _after_revoke,
    ),
    Case("Putting news down", _be_refused, _tended, _after_telling),
    Case("Carrying news", _put_down, _carried, _after_carrying),
    Case(
        "The daily survey",
        lambda world: run(schedule.survey_begun(world.desk), instant(world, 1.0)),
        _surveyed,
        _after_survey,
    ),
    Case("Adding an app", _another_app, lambda world, app: registry.add_app(world.desk, app), _after_adding),
    Case("Removing an app", _added, lambda world, app: registry.remove_app(world.desk, app.name), _after_removing),
    Case(
        "Adding who listens",
        _listener,
        lambda world, listener: notices.add_listener(world.desk, listener),
        _after_listening,
    ),
    Case(
        "Removing who listens",
        _deaf,
        lambda world, listener: notices.remove_listener(world.desk, listener.name),
        _after_leaving,
    ),
)

ALL: Final = (*CASES, *OTHERS, *SECRETS, *PUBLISHED, *KEYS)
