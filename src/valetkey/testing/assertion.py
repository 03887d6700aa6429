"""Signed assertions: a client that proves itself by a JWT, or logs in by one (RFC 7521, RFC 7523).

What may not be here: how JWTs are verified (jose/), what a proven client may do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from valetkey.errors import KeyRefused, RequestRefused, TokenRefused
from valetkey.jose import Claims, Key, Policy, verify
from valetkey.providers.schema import TokenAuth
from valetkey.testing.clients import SandboxClient
from valetkey.testing.realm import Realm
from valetkey.testing.wire import refuse

CLIENT_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""The one client_assertion_type there is for JWTs (RFC 7523 section 2.2)."""

LONGEST: Final = timedelta(hours=1)
"""Longest life of an assertion; Google's limit, and Salesforce's is shorter."""


def read_assertion(realm: Realm, text: str, client_id: str = "") -> tuple[SandboxClient, TokenAuth, Claims]:
    """Return who signed, by what sort of key, and the claims; an assertion is good once (RFC 7523 section 3).

    `client_id` says whose it must be; without one, every client's keys are tried. Raises TokenRefused with the reason
    of the last key tried, or RequestRefused (invalid_grant) for one that was used before.
    """
    last = TokenRefused("no_matching_key", "no such client has a key")
    for client in realm.clients.values():
        if client_id not in {"", client.id}:
            continue
        for way, key in _keys(client):
            try:
                # Time here is everybody's: an assertion is not made older by `advance`.
                claims = verify(text, key, _policy(realm, client), now=realm.wall())
            except TokenRefused as refused:
                last = refused
            else:
                _once(realm, client, claims)
                return client, way, claims
    raise last


def _keys(client: SandboxClient) -> Iterator[tuple[TokenAuth, Key]]:
    if client.key is not None:
        yield "private_key_jwt", client.key.public()
    if client.secret is not None:
        try:
            yield "client_secret_jwt", Key.secret(client.secret.reveal())
        except KeyRefused:
            return  # a given secret may be too short for HS256; then this way is closed


def _policy(realm: Realm, client: SandboxClient) -> Policy:
    # RFC 7523 section 3: the audience is the token endpoint; the issuer is what rfc7523bis asks for.
    audience = (realm.issuer, f"{realm.issuer}/token")
    required = ("sub", "jti")
    return Policy(issuer=client.id, audience=audience, typ=None, required=required, max_lifetime=LONGEST, cache=False)


def _once(realm: Realm, client: SandboxClient, claims: Claims) -> None:
    name = f"{client.id} {claims.token_id}"
    if realm.books.assertions.find(name) is not None:
        raise refuse("invalid_grant", "the assertion was already used")
    realm.books.assertions.put(name, True)


def shown(refused: TokenRefused | RequestRefused) -> str:
    """Return what may be told of a refused assertion: the reason, never the token."""
    return refused.reason if isinstance(refused, TokenRefused) else refused.message
