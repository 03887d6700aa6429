"""Crash at every question while a client's secret is changed: stage, trial, promote, roll back, forget, turn to the other.

The provider looks at the secret. Whatever happens, both secrets are still held until one is forgotten, and the next
caller gets a token unless the answer with a strict provider's refresh token was lost.
What may not be here: how a crash is made (crashes.py).
"""

from __future__ import annotations

from typing import Any, Final

from simulation.crashes import FORCE, LATER, Case, Plan, instant, name_of, next_token
from simulation.house import START, World
from valetkey.run import run
from valetkey.values import Secret
from valetkey.vault import names, renew, rotation
from valetkey.vault.desk import Desk
from valetkey.vault.records import App
from valetkey.vault.staged import ENDED_SECONDS, Proof

OLD: Final = "a secret of the client"
"""What house.py gives every app."""
NEW: Final = "the next secret of the client"


def desk_of(world: World) -> Desk:
    """Return a desk that remembers no client: the world's takes apps for unchanging."""
    return Desk(world.desk.sealer)


def _app_name(world: World) -> str:
    return name_of(world).partition("/")[0]


def app_of(world: World) -> App:
    """Return the app as it is stored."""
    name = _app_name(world)
    return desk_of(world).app(name, world.store.load(names.app_record(name)))


def _standing(world: World) -> str:
    """Say which secret is used and what stands beside it; none of the two may be lost."""
    app = app_of(world)
    assert app.secret is not None
    assert app.staged is not None
    assert app.staged.proof.secret is not None
    assert {app.secret.reveal(), app.staged.proof.secret.reveal()} == {OLD, NEW}, "both are held"
    word = {"next": "staged", "previous": "kept"}[app.staged.role]
    used, beside = ("old", "new") if app.secret == Secret(OLD) else ("new", "old")
    return f"the {used} one is used, the {beside} one {word}"


# ── what stands ready ─────────────────────────────────────────────────────────────────────────────────────────────


def _both_known(world: World) -> None:
    world.provider(name_of(world)).secrets = {OLD, NEW}


def _stage(world: World) -> Plan:
    return rotation.stage(desk_of(world), _app_name(world), Proof(secret=Secret(NEW)))


def _staged(world: World) -> None:
    _both_known(world)
    run(_stage(world), instant(world, 1.0))


def _trial(world: World) -> Plan:
    return rotation.trial(desk_of(world), _app_name(world), name_of(world))


def _tried(world: World) -> None:
    _staged(world)
    run(_trial(world), instant(world, 2.0))


def _promote(world: World) -> Plan:
    return rotation.promote(desk_of(world), _app_name(world))


def _promoted(world: World) -> None:
    _tried(world)
    run(_promote(world), instant(world, 3.0))


def _ended(world: World) -> None:
    """Stage the new one, and let the provider end the old one."""
    _staged(world)
    world.provider(name_of(world)).secrets = {NEW}


def _roll_back(world: World) -> Plan:
    return rotation.roll_back(desk_of(world), _app_name(world))


def _over(world: World) -> None:
    """Promote the new one, and let the day of the old one have come long ago."""
    _tried(world)
    run(rotation.promote(desk_of(world), _app_name(world), old_ends=START - 3 * ENDED_SECONDS), instant(world, 3.0))


def _forget_ended(world: World) -> Plan:
    return rotation.forget_ended(desk_of(world), app_of(world), START + LATER)


def _forget(world: World) -> Plan:
    return rotation.forget(desk_of(world), _app_name(world))


# ── what is seen ──────────────────────────────────────────────────────────────────────────────────────────────────


def _after_staging(world: World, _ready: Any) -> str:
    token = next_token(world, desk_of(world))
    if app_of(world).staged is not None:
        return f"{token}; staged"
    assert app_of(world).secret == Secret(OLD)
    run(_stage(world), instant(world, LATER))
    assert _standing(world) == "the old one is used, the new one staged"
    return f"{token}; staged when it is done again"


def _after_trial(world: World, _ready: Any) -> str:
    """Ask for a token with the old secret; then look whether the trial was written down."""
    token = next_token(world, desk_of(world))
    assert _standing(world) == "the old one is used, the new one staged"
    staged = app_of(world).staged
    assert staged is not None
    return f"{token}; " + ("it may be promoted" if staged.works else "to be tried again")


def _after_turning(plan: Any, wanted: str) -> Any:
    def seen(world: World, _ready: Any) -> str:
        token = next_token(world, desk_of(world))
        found = _standing(world)
        if found == wanted:
            return f"{token}; {found}"
        run(plan(world), instant(world, LATER))
        assert _standing(world) == wanted
        return f"{token}; {found} until it is done again"

    return seen


def _after_forgetting(world: World, _ready: Any) -> str:
    token = next_token(world, desk_of(world))
    again = ""
    if app_of(world).staged is not None:
        run(_forget(world), instant(world, LATER))
        again = " when it is done again"
    app = app_of(world)
    assert (app.secret, app.staged) == (Secret(OLD), None)
    return f"{token}; forgotten{again}"


def _after_the_end(world: World, _ready: Any) -> str:
    token = next_token(world, desk_of(world))
    again = " at the next look" if app_of(world).staged is not None else ""
    run(_forget_ended(world), instant(world, LATER))
    app = app_of(world)
    assert (app.secret, app.staged) == (Secret(NEW), None)
    return f"{token}; forgotten{again}"


def _after_refusal(world: World, _ready: Any) -> str:
    """Let the next caller come: the provider knows only the new one."""
    token = next_token(world, desk_of(world))
    return f"{token}; {_standing(world)}"


SECRETS: Final = (
    Case("Staging a client secret", _both_known, lambda world, _: _stage(world), _after_staging),
    Case("Trying a staged secret", _staged, lambda world, _: _trial(world), _after_trial),
    Case(
        "Promoting a staged secret",
        _tried,
        lambda world, _: _promote(world),
        _after_turning(_promote, "the new one is used, the old one kept"),
    ),
    Case(
        "Rolling back to the previous secret",
        _promoted,
        lambda world, _: _roll_back(world),
        _after_turning(_roll_back, "the old one is used, the new one staged"),
    ),
    Case("Forgetting a secret", _staged, lambda world, _: _forget(world), _after_forgetting),
    Case("Forgetting a secret that has ended", _over, lambda world, _: _forget_ended(world), _after_the_end),
    Case(
        "A refresh that turns to the other secret",
        _ended,
        lambda world, _: renew.obtain(desk_of(world), name_of(world), FORCE),
        _after_refusal,
    ),
)
