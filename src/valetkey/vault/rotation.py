"""Changing an app's secret without an outage: stage the next beside the one in use, try it on one connection, promote.

    stage      keep the next beside the one in use, which goes on being used
    trial      renew one connection with the next; a refusal changes nothing
    promote    the next is used from now on; the previous is kept
    roll back  the previous is used again, and the next is staged as before
    forget     drop the one that is not in use

Each step is one swap of the app's record: a crash leaves the step done or not done, and a connection never without a
proof that it had before. What may not be here: I/O; how a refresh chooses between the two (proving.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from valetkey.effects import Plan, load, note, now, swap
from valetkey.errors import AlreadyExists, InvalidInput, NotFound, ProviderError
from valetkey.vault import names
from valetkey.vault.desk import Desk
from valetkey.vault.judge import Demand
from valetkey.vault.proofs import changed, proof_of, turned, with_proof
from valetkey.vault.proving import usable
from valetkey.vault.records import App
from valetkey.vault.renew import obtain
from valetkey.vault.staged import Proof, Role, Staged, Tried

ATTEMPTS: Final = 4
"""Swaps of an app's record that are tried: people change apps seldom, and refreshes touch them hardly ever."""


def stage(desk: Desk, name: str, given: Proof) -> Plan[App]:
    """Keep another proof beside the one in use; raises AlreadyExists while another stands there, InvalidInput."""
    entry = yield from load(names.app_record(name))
    app = desk.app(name, entry)
    moment = (yield from now()).timestamp()
    provider = desk.provider(app)
    proof = changed(app, msgspec.structs.replace(given, since=moment), provider)
    if proof.same(proof_of(app)):
        raise InvalidInput(f"{name} uses this secret already", fix="make a new one in the provider's console")
    if proof.expires_at is not None and proof.expires_at <= moment:
        raise InvalidInput("the secret would have ended already", fix="give a day that is to come")
    held = app.staged
    if held is not None and not (held.role == "previous" and held.proof.over(moment)):
        which = "a staged one" if held.role == "next" else "the previous one"
        raise AlreadyExists(
            f"{name} still has {which} ({held.proof.fingerprint}) beside the secret in use",
            cause="there is room for two, as at most providers",
            fix=f"`valetkey app secret forget {name}` drops it"
            + (f"; `valetkey app secret promote {name}` uses it" if held.role == "next" else ""),
        )
    yield from usable(desk, with_proof(app, proof), provider)  # refused now, and not in the middle of a refresh
    staged = msgspec.structs.replace(app, staged=Staged(proof=proof))
    yield from _put(desk, staged, entry.version if entry else 0)
    yield from note("secret.staged", name, fingerprint=proof.fingerprint)
    return staged


def trial(desk: Desk, name: str, connection: str) -> Plan[App]:
    """Renew a connection with the staged proof; raises ClientRefused, which changes nothing, and as `obtain` does."""
    app = desk.app(name, (yield from load(names.app_record(name))))
    staged = _staged(app, "next")
    if names.split(connection)[0] != name:
        raise InvalidInput(f"{connection} is no connection of {name}", fix=f"`valetkey connection list {name}`")
    try:
        yield from obtain(desk, connection, Demand(force=True, trial=True))
    except ProviderError as refusal:
        yield from _tried(desk, name, staged.proof, connection, refusal.code)
        raise
    return (yield from _tried(desk, name, staged.proof, connection, ""))


def promote(desk: Desk, name: str, *, untried: bool = False, old_ends: float | None = None) -> Plan[App]:
    """Use the staged proof from now on and keep the one in use until now, until `old_ends` if that is known.

    Raises NotFound where none is staged, InvalidInput where it was not tried with success, unless `untried`.
    """

    def promoted(app: App) -> App:
        staged = _staged(app, "next")
        if not staged.works and not untried:
            raise InvalidInput(
                f"the staged secret of {name} was {'refused when it was' if staged.tried else 'not'} tried",
                cause="if the provider did not take it, no connection of this app could be renewed",
                fix=f"`valetkey app secret trial {name} {name}/LABEL`; --untried where there is nothing to try it on",
            )
        return turned(app if old_ends is None else msgspec.structs.replace(app, secret_expires_at=old_ends))

    app = yield from _changed(desk, name, promoted)
    yield from note("secret.promoted", name, fingerprint=proof_of(app).fingerprint)
    return app


def roll_back(desk: Desk, name: str) -> Plan[App]:
    """Use the previous proof again, and stage the one in use until now; raises NotFound, InvalidInput if that ended.

    Before a promotion there is nothing to go back to: what is staged is not in use.
    """
    moment = (yield from now()).timestamp()

    def back(app: App) -> App:
        staged = _staged(app, "previous")
        if staged.proof.over(moment):
            raise InvalidInput(f"the previous secret of {name} has ended", fix="make a new one, and stage it")
        return turned(app)

    app = yield from _changed(desk, name, back)
    yield from note("secret.rolled_back", name, fingerprint=proof_of(app).fingerprint)
    return app


def forget(desk: Desk, name: str) -> Plan[App]:
    """Drop the proof that is not in use, staged or previous; raises NotFound where there is none."""
    dropped: list[str] = []

    def without(app: App) -> App:
        dropped[:] = [_staged(app).proof.fingerprint]
        return msgspec.structs.replace(app, staged=None)

    app = yield from _changed(desk, name, without)
    yield from note("secret.forgotten", name, fingerprint=dropped[0])
    return app


def forget_ended(desk: Desk, app: App, moment: float) -> Plan[App]:
    """Drop a previous proof whose end has come; a staged one that ended is left, for a person to see."""
    if app.staged is None or app.staged.role != "previous" or not app.staged.proof.over(moment):
        return app
    return (yield from forget(desk, app.name))


def _staged(app: App, role: Role | None = None) -> Staged:
    staged = app.staged
    if staged is None or role not in {None, staged.role}:
        word, fix = _NONE[role]
        raise NotFound(f"app {app.name} has no {word} secret", fix=fix.format(app.name))
    return staged


_NONE: Final[dict[Role | None, tuple[str, str]]] = {
    "next": ("staged", "`valetkey app secret stage {}` stages one"),
    "previous": ("previous", "what is not promoted is not in use: there is nothing to go back from"),
    None: ("other", "there is nothing to forget"),
}


def _changed(desk: Desk, name: str, change: Callable[[App], App]) -> Plan[App]:
    entry = yield from load(names.app_record(name))
    after = change(desk.app(name, entry))
    yield from _put(desk, after, entry.version if entry else 0)
    return after


def _put(desk: Desk, app: App, version: int) -> Plan[None]:
    if not (yield from swap(names.app_record(app.name), version, desk.seal_app(app))):
        raise AlreadyExists(
            f"app {app.name} was changed by somebody else at the same time", fix="look at it, then try again"
        )


def _tried(desk: Desk, name: str, proof: Proof, connection: str, code: str) -> Plan[App]:
    """Write down what came of a trial, on whatever the app has become meanwhile; it is news, and never in the way."""
    moment = (yield from now()).timestamp()
    app = desk.app(name, (yield from load(names.app_record(name))))
    for _ in range(ATTEMPTS):
        entry = yield from load(names.app_record(name))
        app = desk.app(name, entry)
        if app.staged is None or not app.staged.proof.same(proof) or entry is None:
            break
        tried = msgspec.structs.replace(app.staged, tried=Tried(at=moment, on=connection, code=code))
        app = msgspec.structs.replace(app, staged=tried)
        if (yield from swap(names.app_record(name), entry.version, desk.seal_app(app))):
            break
    yield from note("secret.tried", name, "failed" if code else "ok", code, connection=connection)
    return app
