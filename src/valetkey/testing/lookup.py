"""Revocation, introspection and metadata: what the sandbox says and takes back (RFC 7009, RFC 7662, RFC 8414).

What may not be here: the giving of tokens.
"""

from __future__ import annotations

import math
from typing import Any

from valetkey.errors import RequestRefused
from valetkey.testing import wire
from valetkey.testing.books import AccessToken, RefreshToken
from valetkey.testing.clients import SCOPES
from valetkey.testing.proof import prove
from valetkey.testing.realm import Realm
from valetkey.testing.wire import Ask, refuse
from valetkey.values import Response


def revoke(realm: Realm, ask: Ask) -> Response:
    """Answer POST /revoke (RFC 7009): a refresh token takes its grant along, an access token only itself."""
    try:
        form = wire.read_form(ask)
        client = prove(realm, ask, form)
        text = form("token")
        if not text:
            raise refuse("invalid_request", "token is missing")
        token = realm.books.refresh.find(text) or realm.books.access.find(text)
        if token is not None and client.id != (token.grant.client if isinstance(token, RefreshToken) else token.client):
            raise refuse("invalid_grant", "the token was issued to another client")
    except RequestRefused as refused:
        ask.trace["outcome"] = refused.code
        return wire.error(refused)
    if isinstance(token, RefreshToken):
        token.grant.ended = token.grant.ended or "revoked by the client"
    elif token is not None:
        token.expires = -math.inf
    # RFC 7009 section 2.2: an unknown token is no error, the wish is fulfilled.
    return Response(200, wire.NO_STORE)


def introspect(realm: Realm, ask: Ask) -> Response:
    """Answer POST /introspect (RFC 7662); only confidential clients may ask."""
    try:
        form = wire.read_form(ask)
        if prove(realm, ask, form).public:
            raise refuse("invalid_client", "a public client may not ask about tokens", status=401)
        text = form("token")
        if not text:
            raise refuse("invalid_request", "token is missing")
    except RequestRefused as refused:
        ask.trace["outcome"] = refused.code
        return wire.error(refused)
    access, refresh = realm.books.access.find(text), realm.books.refresh.find(text)
    if access is not None and access.lives(realm.clock()):
        return wire.json(_told(realm, access))
    if refresh is not None and not refresh.grant.ended and refresh.replaced == math.inf:
        grant = refresh.grant
        told = {"scope": grant.scopes.join(), "client_id": grant.client, "sub": grant.subject, "iss": realm.issuer}
        return wire.json({"active": True, **told, "token_type": "refresh_token"})
    return wire.json({"active": False})


def _told(realm: Realm, token: AccessToken) -> dict[str, Any]:
    told: dict[str, Any] = {
        "active": True,
        "scope": token.scopes.join(),
        "client_id": token.client,
        "username": token.grant.subject,
        "sub": token.grant.subject,
        "token_type": "Bearer",
        "iss": realm.issuer,
        "iat": int(token.born),
    }
    told |= {"exp": int(token.expires)} if token.expires != math.inf else {}
    told |= {"aud": list(token.audience)} if token.audience else {}
    told |= {"act": {"sub": token.actor}} if token.actor else {}
    return told


def metadata(realm: Realm, ask: Ask) -> Response:
    """Answer GET /.well-known/oauth-authorization-server (RFC 8414 section 2)."""
    del ask
    issuer = realm.issuer
    # client_secret_json is no registered name, so it is not told.
    ways = [way for way in realm.manner.token_auth if way != "client_secret_json"]
    proven = [way for way in ways if way != "none"]
    return wire.json(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "device_authorization_endpoint": f"{issuer}/device_authorization",
            "revocation_endpoint": f"{issuer}/revoke",
            "introspection_endpoint": f"{issuer}/introspect",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": list(wire.GRANTS),
            "token_endpoint_auth_methods_supported": ways,
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "HS256"],
            "revocation_endpoint_auth_methods_supported": ways,
            "introspection_endpoint_auth_methods_supported": proven,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
    )
