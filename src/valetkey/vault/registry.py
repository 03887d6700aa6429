"""Apps: adding, replacing, removing. What may not be here: I/O."""

from __future__ import annotations

import msgspec

from valetkey.effects import Plan, load, note, now, swap
from valetkey.errors import AlreadyExists, InvalidInput
from valetkey.managers.reference import Reference
from valetkey.providers.schema import GrantName, Provider
from valetkey.vault import names
from valetkey.vault.desk import Desk, method_of
from valetkey.vault.proofs import proof_of
from valetkey.vault.proving import kept_elsewhere, usable
from valetkey.vault.records import App


def add_app(desk: Desk, app: App, *, replace: bool = False, over: App | None = None, check: bool = True) -> Plan[App]:
    """Keep an app; raises AlreadyExists unless it may be replaced. Its connections stay as they are.

    `over` is what it was made of: it takes that one's place and no other's. Without `check`, what its references lead
    to is not looked at.
    """
    record = names.app_record(app.name)
    yield from fit(desk, app, check=check)
    entry = yield from load(record)
    if over is not None and (entry is None or desk.app(app.name, entry) != over):
        raise _changed(app.name)
    if entry is not None and not replace and over is None:
        raise taken(app.name)
    moment = (yield from now()).timestamp()
    before = desk.app(app.name, entry) if entry is not None else None
    created, since, staged = moment, moment, app.staged
    if before is not None:
        # What stands beside the secret in use is nobody's to lose by a change of something else.
        created, staged = before.created_at, before.staged
        since = before.secret_since if proof_of(app).fingerprint == proof_of(before).fingerprint else moment
    kept = msgspec.structs.replace(app, created_at=created, staged=staged, secret_since=since)
    if not (yield from swap(record, entry.version if entry else 0, desk.seal_app(kept))):
        raise _changed(app.name)
    yield from note("app.replaced" if entry else "app.added", app.name, provider=app.provider)
    return kept


def fit(desk: Desk, app: App, *, check: bool = True) -> Plan[None]:
    """Refuse an app that could not be used, now and not on Saturday night; raises as `add_app` does."""
    names.app_name(app.name)
    _refuse_both(app)
    provider = desk.provider(app)
    if app.grant is not None:
        refuse_public(app, provider, app.grant)
    if check or not kept_elsewhere(app):
        yield from usable(desk, app, provider)


def remove_app(desk: Desk, name: str) -> Plan[None]:
    """Forget an app; raises NotFound. That no connection needs it is the keeper's to check."""
    record = names.app_record(name)
    entry = yield from load(record)
    desk.app(name, entry)
    if not (yield from swap(record, entry.version if entry else 0, None)):
        raise _changed(name)
    yield from note("app.removed", name)


def _refuse_both(app: App) -> None:
    """Refuse references that are none, and a secret beside its reference; raises InvalidInput."""
    for secret, reference in ((app.secret, app.secret_ref), (app.private_key, app.private_key_ref)):
        if reference:
            Reference.parse(reference)
        if reference and secret is not None:
            raise InvalidInput(f"app {app.name} was given a secret and where it is kept", fix="give one of them")


def refuse_public(app: App, provider: Provider, grant: GrantName) -> None:
    """Refuse the client credentials of a client that has none (RFC 6749 section 4.4); raises InvalidInput."""
    if grant != "client_credentials" or method_of(app, provider) != "none":
        return
    if app.private_key is not None or app.private_key_ref:
        raise InvalidInput(
            f"app {app.name} does not prove itself by its key, and has no client_credentials grant",
            cause="that grant is for clients that prove themselves (RFC 6749 section 4.4); the key is kept for the "
            "jwt_bearer grant alone",
            fix=f"let the key prove the client too (RFC 7523 section 2.2): --token-auth private_key_jwt of `valetkey "
            f"app add` (`valetkey app add {app.name} --replace` where the app is there)",
        )
    raise InvalidInput(
        f"app {app.name} is a public client, and has no client_credentials grant",
        cause="that grant is for clients that prove themselves (RFC 6749 section 4.4), with a secret or a key",
        fix="give it one: --secret-stdin, --secret-ref or --private-key of `valetkey app add` (and --replace where "
        "the app is there); or let a person connect it: --grant authorization_code, or device_code",
    )


def taken(name: str) -> AlreadyExists:
    """Return the refusal of a name that an app has already."""
    return AlreadyExists(f"there is an app called {name}", fix="choose another name, or change this one with --replace")


def _changed(name: str) -> AlreadyExists:
    return AlreadyExists(f"app {name} was changed by somebody else at the same time", fix="look at it, then try again")
