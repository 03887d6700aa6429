"""How an app proves itself: the one door by which a plan gets an OAuth client, its secrets found where they are kept.

A secret that is kept elsewhere is looked up when it is used. When the provider answers `invalid_client`, it is fetched
anew and the request made once more with what came; a grant is not spent by a request whose client was refused
(RFC 6749 section 5.2). What may not be here: I/O, and how long a secret is remembered (managers/resolver.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

import msgspec

from valetkey.effects import Plan, Want, note, now, resolve
from valetkey.errors import (
    ClientRefused,
    InvalidInput,
    ManagerRefused,
    ManagerUnavailable,
    ProviderError,
    StoreUnavailable,
    UsageError,
    ValetkeyError,
)
from valetkey.oauth.authentication import client_auth
from valetkey.oauth.client import Client
from valetkey.providers.schema import Provider
from valetkey.values import Secret
from valetkey.vault.asking import name_address
from valetkey.vault.desk import Desk
from valetkey.vault.proofs import both_refused, other_app, with_other
from valetkey.vault.records import App

T = TypeVar("T")

STAGED: Final = "aws-sm:"
"""References whose manager keeps the secret before the last rotation: for a while the provider may know only that."""

HERE: Final = ("file:", "env:")
"""References to what lies on this machine: no manager stands before it."""


def kept_elsewhere(app: App) -> bool:
    """Say whether a secret of an app is named by a reference."""
    return bool(app.secret_ref or app.private_key_ref)


Ask: TypeAlias = Callable[[App, Client], Plan[T]]


def proven(desk: Desk, app: App, provider: Provider, ask: Ask[T], *, trial: bool = False) -> Plan[T]:
    """Let `ask` ask as the app's client; where the provider refuses the client, once more with the secret as it is now.

    While another secret stands beside the one in use, that is tried too, once, where the provider plainly refused the
    one in use; with `trial` the staged one alone. `ask` is given the app it asks as: without `staged` it is the other.
    Raises what `ask` raises, and ManagerRefused, ManagerUnavailable or InvalidInput before anything is sent.
    """
    if trial:
        if app.staged is None:
            raise InvalidInput(f"the staged secret of {app.name} was forgotten meanwhile", fix="stage one, then try it")
        return (yield from _asked(desk, with_other(app, app.staged), provider, ask))
    try:
        return (yield from _asked(desk, app, provider, ask))
    except ClientRefused as refused:
        refusal = refused
    if app.staged is None:
        raise refusal
    other = other_app(app, refusal, (yield from now()).timestamp())
    if other is None:
        raise refusal
    try:
        return (yield from _asked(desk, other, provider, ask))
    except ClientRefused as again:
        raise both_refused(app, again) from None
    except (ManagerRefused, ManagerUnavailable, StoreUnavailable, UsageError):
        raise refusal from None  # the other was not sent at all: what the provider said of the first tells more


def _asked(desk: Desk, app: App, provider: Provider, ask: Ask[T]) -> Plan[T]:
    if not kept_elsewhere(app):
        return (yield from _sent(desk, app, provider, ask))
    tried: list[App] = []
    refusal: ClientRefused | None = None
    for want in _wants(app):
        try:
            found = yield from found_secrets(app, want)
        except (ManagerRefused, ManagerUnavailable):
            if refusal is None:
                raise
            continue  # what the provider said tells more
        if found in tried:
            continue
        tried.append(found)
        try:
            return (yield from _sent(desk, found, provider, ask))
        except ClientRefused as refused:
            refusal = refused
    assert refusal is not None
    raise refusal


def _sent(desk: Desk, app: App, provider: Provider, ask: Ask[T]) -> Plan[T]:
    try:
        return (yield from ask(app, desk.client(app, provider)))
    except ProviderError as refusal:
        name_address(refusal, app, provider)
        raise


def _wants(app: App) -> tuple[Want, ...]:
    staged = any(reference.startswith(STAGED) for reference in (app.secret_ref, app.private_key_ref))
    return ("remembered", "fresh", "previous") if staged else ("remembered", "fresh")


def found_secrets(app: App, want: Want = "remembered") -> Plan[App]:
    """Return an app with the secrets that its references lead to in their places; it is not to be stored."""
    secret = (yield from _found(app, app.secret_ref, want)) if app.secret_ref else app.secret
    key = (yield from _found(app, app.private_key_ref, want)) if app.private_key_ref else app.private_key
    return msgspec.structs.replace(app, secret=secret, private_key=key)


def _found(app: App, reference: str, want: Want) -> Plan[Secret]:
    try:
        found = yield from resolve(reference, want)
    except ValetkeyError as refusal:
        with suppress(StoreUnavailable):
            yield from note("secret.unresolved", app.name, "failed", refusal.code, reference=reference, want=want)
        raise
    if found.fetched:
        yield from note("secret.resolved", app.name, reference=reference, want=want)
    return found.secret


def usable(desk: Desk, app: App, provider: Provider) -> Plan[None]:
    """Look whether an app can prove itself; raises InvalidInput, KeyRefused and the errors of secret managers.

    A reference that leads nowhere was just given, so it is InvalidInput, under the code that it has later on.
    """
    try:
        found = yield from found_secrets(app, "fresh")
    except ManagerRefused as refusal:
        raise _mistyped(app, refusal) from None
    desk.client(found, provider)
    if app.private_key_ref:
        desk.key(found)


def _mistyped(app: App, refusal: ManagerRefused) -> ValetkeyError:
    """Return the error for a reference that leads nowhere; a manager that lets nobody in is told as it is."""
    here = all(reference.startswith(HERE) for reference in (app.secret_ref, app.private_key_ref) if reference)
    if not here and refusal.code != "manager_secret_missing":
        return refusal
    fix = refusal.fix if here else "check the reference, and that the secret is there; docs/managers.md has examples"
    return InvalidInput(refusal.message, code=refusal.code, cause=refusal.cause, fix=fix, **refusal.evidence)


def unproven(desk: Desk, app: App, provider: Provider) -> Client:
    """Return the client of an app for what is asked without proof (an authorization URL); raises InvalidInput.

    An app whose own secrets could not be used is refused here, before a person is sent away.
    """
    if kept_elsewhere(app):
        return Client(provider, app.client_id, client_auth("none", None, None))
    return desk.client(app, provider)
