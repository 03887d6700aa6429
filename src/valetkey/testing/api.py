"""The protected API: who called, what arrived, and a way elsewhere (RFC 6750).

What may not be here: the giving of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from valetkey.testing import wire
from valetkey.testing.books import AccessToken
from valetkey.testing.realm import Realm
from valetkey.testing.wire import Ask, refuse
from valetkey.values import Response

UNSHOWN: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
"""Headers whose value is not echoed; that they came is."""

REDIRECTS: Final[Mapping[str, int]] = MappingProxyType({"": 302, **{str(s): s for s in (301, 302, 303, 307, 308)}})
"""What `status` may say, and what it is without."""


def caller(realm: Realm, ask: Ask, scope: str = "") -> AccessToken:
    """Return the token the request came with; raises RequestRefused (401, 403) as RFC 6750 section 3.1 says."""
    scheme, _blank, text = ask.header("authorization").partition(" ")
    if ask.query("access_token"):
        raise refuse("invalid_request", "a token is not taken from the URL", challenge="Bearer")
    if scheme.lower() != "bearer" or not text.strip():
        raise refuse("token_missing", "this needs a bearer token", status=401, challenge="Bearer")
    token = realm.books.access.find(text.strip())
    if token is None:
        raise refuse("invalid_token", "the token is unknown", status=401, challenge="Bearer")
    ask.trace.update(client=token.client, user=token.grant.subject)
    if not token.lives(realm.clock()):
        raise refuse("invalid_token", "the token has expired or was revoked", status=401, challenge="Bearer")
    if scope and scope not in token.scopes:
        raise refuse("insufficient_scope", "the token lacks a scope", status=403, scope=scope, challenge="Bearer")
    return token


def whoami(realm: Realm, ask: Ask) -> Response:
    """Answer GET /api/whoami: any living token will do."""
    return wire.json(_seen(realm, caller(realm, ask)))


def echo(realm: Realm, ask: Ask) -> Response:
    """Answer /api/echo: what arrived, without its secrets. GET needs `read`, all else `write`."""
    token = caller(realm, ask, "read" if ask.method in {"GET", "HEAD"} else "write")
    headers = {name: "…" if name in UNSHOWN else value for name, value in ask.headers.items()}
    return wire.json(
        {
            "method": ask.method,
            "path": ask.path,
            "query": ask.query.pairs,
            "headers": headers,
            "body": ask.body.decode(errors="replace"),
            "caller": _seen(realm, token),
        }
    )


def elsewhere(realm: Realm, ask: Ask) -> Response:
    """Answer /api/redirect?to=…&status=…: a client must not carry its token along to another host.

    It needs a token itself, so that no page can use it to send people away.
    """
    caller(realm, ask)
    to = ask.query("to")
    try:
        plain = urlsplit(to).scheme in {"http", "https"} and to.isascii() and to.isprintable()
    except ValueError:
        plain = False
    if not plain or ask.query("status") not in REDIRECTS:
        raise refuse("invalid_request", "to must be an http(s) URL, and status one of 301, 302, 303, 307, 308")
    return wire.redirect(to, REDIRECTS[ask.query("status")])


def _seen(realm: Realm, token: AccessToken) -> dict[str, Any]:
    seen: dict[str, Any] = {
        "user": token.grant.subject,
        "client": token.client,
        "grant": token.grant.kind,
        "scopes": list(token.scopes),
        "token": token.fingerprint,
    }
    seen |= {"expires_in": round(token.expires - realm.clock(), 3)} if token.expires != math.inf else {}
    seen |= {"audience": list(token.audience)} if token.audience else {}
    seen |= {"actor": token.actor} if token.actor else {}
    return seen
