"""Which request obtains tokens for a connection: a table from grant to request. And of scopes refused. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final, TypedDict
from urllib.parse import urlsplit

import msgspec

from valetkey.errors import (
    PROVIDER_TEXT_LIMIT,
    BadAnswer,
    InvalidInput,
    NotConnected,
    ProviderError,
    ValetkeyError,
    Weather,
)
from valetkey.oauth.assertion import assertion, jwt_bearer_request
from valetkey.oauth.client import WHAT, Client, EndpointName, Stamp
from valetkey.oauth.token import client_credentials_request, refresh_request
from valetkey.providers.schema import GrantName, Provider
from valetkey.values import Request, Scopes
from valetkey.vault.desk import Desk
from valetkey.vault.records import App, Asked, Connection

ASSERTION_LIFETIME: Final = timedelta(minutes=3)
"""Salesforce takes no more than three minutes; nobody needs more, the assertion is used at once."""


class _Target(TypedDict, total=False):
    scopes: Scopes
    resource: tuple[str, ...]
    extra: dict[str, str]


def token_request(
    desk: Desk, client: Client, app: App, connection: Connection, stamp: Stamp, *, part: str = ""
) -> Request:
    """Return the request that renews a part of a connection, or obtains its first tokens where no person is needed."""
    refresh = connection.refresh_token(part)
    if refresh is not None:
        return refresh_request(client, refresh, stamp=stamp, **_target(client, connection.asked, part))
    ask = _WITHOUT_PERSON.get(connection.grant)
    if ask is None:
        raise NotConnected(
            f"{connection.name} cannot be renewed without a person",
            cause=f"its grant is {connection.grant}, and it has no refresh token",
            fix=f"`valetkey connect {connection.name}`",
        )
    return ask(desk, client, app, _aimed(connection, part), stamp)


def refuse_person(name: str, grant: str) -> None:
    """Refuse a grant by which no connection is made without a person; raises InvalidInput."""
    if grant not in _WITHOUT_PERSON:
        raise InvalidInput(
            f"{name} cannot be connected without a person by the grant {grant[:80]!r}",
            cause="a person has to consent to it, or it is misspelt",
            fix=f"write {' or '.join(_WITHOUT_PERSON)}; a person consents with `valetkey connect {name}`, or in a "
            "program with begin() and finish(), or begin_device() and finish_device()",
        )


def asked_scopes(provider: Provider, connection: Connection) -> Sequence[str]:
    """Return the scopes that the request for a connection's own token names."""
    if connection.refresh_token("") is not None:
        return connection.asked.scopes if provider.asking.scope_on_refresh else ()
    usual = provider.client_credentials_scopes if connection.grant == "client_credentials" else ()
    return connection.asked.scopes or usual


def name_scopes(refusal: ValetkeyError, asked: Iterable[str]) -> None:
    """Say in the error for a refused scope which ones were asked for; other errors stay as they are."""
    if refusal.code != "invalid_scope":
        return
    scopes = " ".join(dict.fromkeys(asked))[:PROVIDER_TEXT_LIMIT]
    refusal.cause = f"asked for: {scopes or 'no scope at all'}; {refusal.cause}"
    refusal.evidence = MappingProxyType({**refusal.evidence, "asked": scopes})


def name_address(refusal: ProviderError, app: App, provider: Provider) -> None:
    """Say in the error of a server that was not reached, or knows no such place, how its address is corrected.

    Only where a person gave the address, and it is the address that was asked. What else is said names the app.
    """
    refusal.fix = _with_names(refusal.fix, app)
    if app.described is None and not app.params:
        return  # the catalogue's own addresses are right
    there = _not_reached(refusal, provider) if isinstance(refusal, Weather) else _misplaced(refusal, provider)
    if not there:
        return
    by = "--param NAME=VALUE" if app.described is None else " ".join(f"--{name}-url URL" for name in there)
    how = (
        f"check the address of the provider's {' and '.join(WHAT[name] for name in there)}: `valetkey app show "
        f"{app.name}` shows it, `valetkey app add {app.name} --replace {by}` changes it"
    )
    if isinstance(refusal, Weather):
        refusal.fix = f"{how}; if it is right, {refusal.fix}"
    else:
        refusal.cause, refusal.fix = BadAnswer.cause, how


def _not_reached(weather: Weather, provider: Provider) -> list[EndpointName]:
    if weather.sent or "proxy" in weather.evidence:
        return []
    asked = (weather.evidence.get("host"), weather.evidence.get("port"))
    there = [name for name in _ASKED if _place(getattr(provider.endpoints, name)) == asked]
    return [name for name in there if name in _TOKENS] or there[:1]


def _misplaced(refusal: ProviderError, provider: Provider) -> list[EndpointName]:
    """Return what may have been asked, where the answer is one that a token endpoint does not give."""
    page = isinstance(refusal, BadAnswer) and refusal.evidence.get("content_type") == "text/html"
    if not page and refusal.evidence.get("status") not in NOT_AN_ENDPOINT:
        return []
    return [name for name in _TOKENS if getattr(provider.endpoints, name)]


def _with_names(fix: str, app: App) -> str:
    """Return a fix with the app's name in the commands that it names."""
    fix = fix.replace("`valetkey app secret stage APP`", f"`valetkey app secret stage {app.name}`")
    fix = fix.replace("`valetkey app add APP ", f"`valetkey app add {app.name} ")
    shown = f"app show {app.name}" if app.described is not None else f"provider show {app.provider}"
    return fix.replace("`valetkey provider show NAME`", f"`valetkey {shown}`")


NOT_AN_ENDPOINT: Final = frozenset({404, 405})
"""Statuses of a place that is not there, or takes no POST (RFC 9110 sections 15.5.5 and 15.5.6)."""

_TOKENS: Final[tuple[EndpointName, ...]] = ("token", "device")
_ASKED: Final[tuple[EndpointName, ...]] = (*_TOKENS, "revoke", "introspect")
"""What valetkey itself asks, and a person may give the address of."""


def _place(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


Ask = Callable[[Desk, Client, App, Connection, Stamp], Request]


def _target(client: Client, asked: Asked, part: str) -> _Target:
    """Say which API a refreshed token is for, in the way the provider wants it said."""
    kind, _, value = part.partition("=")
    if kind == "audience":
        return {"extra": {"audience": value}}
    if kind == "resource" and client.provider.asking.target == "default_scope":
        return {"extra": {client.provider.asking.scope_param: f"{value.rstrip('/')}/.default"}}
    if kind == "resource":
        return {"resource": (value,)}
    return {} if part else {"scopes": Scopes(asked.scopes), "resource": asked.resource}


def _aimed(connection: Connection, part: str) -> Connection:
    """Return a machine's connection as if it had been asked for this target alone."""
    kind, _, value = part.partition("=")
    if not value:
        return connection
    changes = {"resource": (value,), "audience": ""} if kind == "resource" else {"audience": value, "resource": ()}
    return msgspec.structs.replace(connection, asked=msgspec.structs.replace(connection.asked, **changes))


def _client_credentials(_desk: Desk, client: Client, app: App, connection: Connection, stamp: Stamp) -> Request:
    asked = connection.asked
    return client_credentials_request(
        client,
        scopes=Scopes(asked.scopes),
        audience=asked.audience or app.audience,
        resource=asked.resource,
        extra=asked.extra,
        stamp=stamp,
    )


def _jwt_bearer(desk: Desk, client: Client, app: App, connection: Connection, stamp: Stamp) -> Request:
    asked = connection.asked
    subject = asked.subject or app.client_id
    audience = (
        asked.audience or app.audience or client.provider.asking.jwt_bearer_audience or client.provider.endpoints.token
    )
    if not subject:
        raise InvalidInput(f"{connection.name} names nobody to speak for", fix="give --subject")
    signed = assertion(
        desk.key(app),
        issuer=app.client_id,
        subject=subject,
        audience=audience,
        scopes=Scopes(asked.scopes),
        stamp=stamp,
        lifetime=ASSERTION_LIFETIME,
    )
    return jwt_bearer_request(client, signed, scopes=Scopes(), stamp=stamp)


_WITHOUT_PERSON: Final[dict[GrantName, Ask]] = {
    "client_credentials": _client_credentials,
    "jwt_bearer": _jwt_bearer,
}
