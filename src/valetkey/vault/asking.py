"""Which request obtains tokens for a connection: a table from grant to request. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from valetkey.errors import InvalidInput, NotConnected
from valetkey.oauth.assertion import assertion, jwt_bearer_request
from valetkey.oauth.client import Client, Stamp
from valetkey.oauth.token import client_credentials_request, refresh_request
from valetkey.providers.schema import GrantName
from valetkey.values import Request, Scopes
from valetkey.vault.desk import Desk
from valetkey.vault.records import App, Connection

ASSERTION_LIFETIME: Final = timedelta(minutes=3)
"""Salesforce takes no more than three minutes; nobody needs more, the assertion is used at once."""


def token_request(desk: Desk, client: Client, app: App, connection: Connection, stamp: Stamp) -> Request:
    """Return the request that renews a connection, or obtains its first tokens where no person is needed."""
    if connection.tokens is not None and connection.tokens.refresh is not None:
        return _refresh(desk, client, app, connection, stamp)
    ask = _WITHOUT_PERSON.get(connection.grant)
    if ask is None:
        raise NotConnected(f"{connection.name} cannot be renewed without a person")
    return ask(desk, client, app, connection, stamp)


Ask = Callable[[Desk, Client, App, Connection, Stamp], Request]


def _refresh(_desk: Desk, client: Client, _app: App, connection: Connection, stamp: Stamp) -> Request:
    assert connection.tokens is not None and connection.tokens.refresh is not None  # noqa: PT018  # one fact in two parts
    asked = connection.asked
    scopes = Scopes(asked.scopes) if client.provider.asking.scope_on_refresh else Scopes()
    return refresh_request(client, connection.tokens.refresh, scopes=scopes, resource=asked.resource, stamp=stamp)


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
