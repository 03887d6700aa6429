"""How a client proves itself at the token endpoint and its neighbours (RFC 6749 section 2.3, RFC 7523 section 3).

What may not be here: what a proven client may do.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from valetkey.errors import RequestRefused, TokenRefused
from valetkey.providers.schema import TokenAuth
from valetkey.testing.assertion import CLIENT_ASSERTION, read_assertion, shown
from valetkey.testing.clients import SandboxClient
from valetkey.testing.realm import Realm
from valetkey.testing.wire import Ask, Params, refuse, wrote_json
from valetkey.values import Secret


@dataclass(frozen=True, slots=True)
class Proof:
    """Be what a client sent to prove itself."""

    way: TokenAuth
    client_id: str
    secret: Secret = field(default=Secret(""))


def prove(realm: Realm, ask: Ask, form: Params) -> SandboxClient:
    """Return the client that proved itself; raises RequestRefused (invalid_client, invalid_request)."""
    if form("client_assertion"):
        return _by_assertion(realm, ask, form)
    proof = read_proof(ask, form)
    client = realm.clients.get(proof.client_id)
    if client is not None:
        ask.trace["client"] = client.id  # only names we know: anything may stand in a request
    _taken(realm, ask, proof.way)
    # An unknown client costs the same comparison as a wrong secret.
    known = (client.secrets if client is not None else ()) or (Secret(""),)
    right = any([proof.secret == one for one in known])  # noqa: C419  # compared: by Secret, in constant time, all of them
    if client is None or not right or client.public != (proof.way == "none"):
        raise _unproven(ask, "the client is unknown, or its secret is wrong")
    return client


def _taken(realm: Realm, ask: Ask, way: TokenAuth) -> None:
    if way not in realm.manner.token_auth:
        taken = " ".join(realm.manner.token_auth)
        raise _unproven(ask, f"this server does not take {way}; it takes: {taken}")


def _by_assertion(realm: Realm, ask: Ask, form: Params) -> SandboxClient:
    """Return the client that signed its client_assertion (RFC 7523 section 2.2)."""
    if ask.header("authorization") or form("client_secret"):
        raise refuse("invalid_request", "the client proves itself in more than one way")
    if form("client_assertion_type") != CLIENT_ASSERTION:
        raise refuse("invalid_request", f"client_assertion_type must be {CLIENT_ASSERTION}")
    try:
        client, way, claims = read_assertion(realm, form("client_assertion"), form("client_id"))
    except (TokenRefused, RequestRefused) as refused:
        raise _unproven(ask, f"client_assertion does not hold: {shown(refused)}") from None
    ask.trace["client"] = client.id
    _taken(realm, ask, way)
    if claims.subject != client.id:
        raise _unproven(ask, "client_assertion does not hold: its subject is not the client")
    return client


def read_proof(ask: Ask, form: Params) -> Proof:
    """Read how the client proves itself: one way at a time; raises RequestRefused."""
    header = ask.header("authorization")
    if header and form("client_secret"):
        raise refuse("invalid_request", "the client proves itself in more than one way")
    if header:
        proof = _basic(ask, header)
        if form("client_id") not in {"", proof.client_id}:
            raise refuse("invalid_request", "header and body name different clients")
        return proof
    if form("client_secret"):
        way: TokenAuth = "client_secret_json" if wrote_json(ask) else "client_secret_post"
        return Proof(way, form("client_id"), Secret(form("client_secret")))
    return Proof("none", form("client_id"))


def _basic(ask: Ask, header: str) -> Proof:
    scheme, _blank, credentials = header.partition(" ")
    try:
        pair = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        pair = ""
    name, colon, secret = pair.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise _unproven(ask, "the Authorization header is not Basic with id and secret")
    # RFC 6749 section 2.3.1: both are form-encoded before they are joined.
    return Proof("client_secret_basic", unquote_plus(name), Secret(unquote_plus(secret)))


def _unproven(ask: Ask, description: str) -> RequestRefused:
    # RFC 6749 section 5.2: 401, and the scheme the client tried.
    return refuse("invalid_client", description, status=401, challenge="Basic" if ask.header("authorization") else "")
