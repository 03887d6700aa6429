"""What each grant_type does at the token endpoint: a table of functions that return the members of the answer.

What may not be here: how a client proves itself (proof.py), in what shape the answer is sent (token.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from valetkey.errors import RequestRefused, TokenRefused
from valetkey.testing.assertion import read_assertion, shown
from valetkey.testing.books import Code, Device
from valetkey.testing.clients import SandboxClient
from valetkey.testing.proof import prove
from valetkey.testing.realm import Realm
from valetkey.testing.wire import Ask, Params, refuse
from valetkey.values import Scopes

Members: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Realm, SandboxClient, Ask, Params], Members]

VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""RFC 7636 section 4.1."""

SUBJECT_LIMIT: Final = 255
"""Longest subject, in characters (OpenID Connect Core section 2)."""

ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
"""RFC 8693 section 3; the only sort the sandbox exchanges."""

POLLING_GRACE: Final = 0.9
"""A device that waited nine tenths of the interval is not told to slow down: networks jitter."""

SLOWER_BY: Final = 5.0
"""RFC 8628 section 3.5: with each slow_down the interval grows by five seconds."""


def audience_of(asked: Params, granted: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the resources and audiences asked for; raises RequestRefused (invalid_target, RFC 8707 section 2)."""
    for resource in asked.all("resource"):
        try:
            parts = urlsplit(resource)
        except ValueError:
            parts = urlsplit("")
        if not parts.scheme or "#" in resource:
            raise refuse("invalid_target", "a resource must be an absolute URI without a fragment")
    wanted = asked.all("resource") + asked.all("audience")
    if granted and not set(wanted) <= set(granted):
        raise refuse("invalid_target", "the resource is not part of the grant")
    return wanted


def by_code(realm: Realm, client: SandboxClient, ask: Ask, form: Params) -> Members:
    """Redeem an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.6)."""
    code = realm.books.codes.find(form("code"))
    if code is None or code.client != client.id:
        raise refuse("invalid_grant", "the code is unknown")
    ask.trace["user"] = code.user
    if code.grant is not None:
        # RFC 6749 section 4.1.2: deny, and revoke what was issued on it.
        code.grant.ended = "its code was used twice"
        raise refuse("invalid_grant", "the code was already used")
    if realm.clock() >= code.expires:
        raise refuse("invalid_grant", "the code has expired")
    if code.redirect_uri and form("redirect_uri") != code.redirect_uri:
        raise refuse("invalid_grant", "redirect_uri is not the one the code was asked with")
    check_pkce(code, form("code_verifier"))
    audience = audience_of(form, code.audience)
    code.grant = realm.grant("authorization_code", client.id, code.user, code.scopes, code.audience)
    members = realm.access(code.grant, code.scopes, audience=audience)
    return {**members, **realm.refreshable(code.grant)} if code.offline else members


def check_pkce(code: Code, verifier: str) -> None:
    """Raise RequestRefused unless the verifier belongs to the challenge (RFC 7636 section 4.6)."""
    if not code.challenge and not verifier:
        return
    if not code.challenge:
        # RFC 9700 section 4.8.2: a verifier without a challenge is a sign of a downgrade.
        raise refuse("invalid_grant", "there was no code_challenge for this code_verifier")
    if not VERIFIER.fullmatch(verifier):
        raise refuse("invalid_grant", "code_verifier is missing, or not 43 to 128 unreserved characters")
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    if not hmac.compare_digest(digest, code.challenge.encode()):
        raise refuse("invalid_grant", "code_verifier does not belong to the code_challenge")


def by_client(realm: Realm, client: SandboxClient, ask: Ask, form: Params) -> Members:
    """Give the client a token of its own (RFC 6749 section 4.4): no refresh token."""
    ask.trace["user"] = client.id
    scopes = realm.scopes_for(client, form("scope"))
    return realm.access(realm.grant("client_credentials", client.id, client.id, scopes, audience_of(form)), scopes)


def by_refresh(realm: Realm, client: SandboxClient, ask: Ask, form: Params) -> Members:
    """Spend a refresh token (RFC 6749 section 6)."""
    text = form("refresh_token")
    if not text:
        raise refuse("invalid_request", "refresh_token is missing")
    if (filed := realm.books.refresh.find(text)) is not None:
        ask.trace["user"] = filed.grant.subject
    token = realm.spend(text, client)
    scopes = within(token.grant.scopes, form("scope"))
    audience = audience_of(form, token.grant.audience)
    renewed = realm.renewed(token, text)
    return {**realm.access(token.grant, scopes, audience=audience), **renewed}


def within(granted: Scopes, asked: str) -> Scopes:
    """Return the scopes asked for, all if none; raises RequestRefused (invalid_scope) beyond the granted ones."""
    wanted = Scopes(asked) or granted
    if granted.missing(wanted):
        raise refuse("invalid_scope", "a scope is not part of the grant")
    return wanted


def by_device(realm: Realm, client: SandboxClient, ask: Ask, form: Params) -> Members:
    """Answer a device that asks whether somebody decided (RFC 8628 section 3.5)."""
    device = realm.books.devices.find(form("device_code"))
    if device is None or device.client != client.id or device.used:
        raise refuse("invalid_grant", "the device code is unknown, or was already used")
    ask.trace["user"] = device.user
    now = realm.clock()
    if now >= device.expires:
        raise refuse("expired_token", "nobody typed the code in time")
    early, device.asked = now - device.asked < device.interval * POLLING_GRACE, now
    if early:
        device.interval += SLOWER_BY
        raise refuse("slow_down", f"ask every {device.interval:g} seconds")
    if not device.verdict:
        raise refuse("authorization_pending", "nobody has decided yet")
    device.used = True
    if device.verdict != "allow":
        raise refuse("access_denied", "the person pressed deny")
    return _device_tokens(realm, device)


def _device_tokens(realm: Realm, device: Device) -> Members:
    grant = realm.grant("device_code", device.client, device.user, device.scopes, device.audience)
    members = realm.access(grant, device.scopes)
    return {**members, **realm.refreshable(grant)} if device.offline else members


def by_exchange(realm: Realm, client: SandboxClient, ask: Ask, form: Params) -> Members:
    """Exchange one of our access tokens for a narrower one (RFC 8693); it ends with the grant it came from."""
    if form("subject_token_type") != ACCESS_TOKEN_TYPE:
        raise refuse("invalid_request", f"subject_token_type must be {ACCESS_TOKEN_TYPE}")
    if form("requested_token_type") not in {"", ACCESS_TOKEN_TYPE}:
        raise refuse("invalid_request", f"requested_token_type can only be {ACCESS_TOKEN_TYPE}")
    token = realm.books.access.find(form("subject_token"))
    if token is None or not token.lives(realm.clock()):
        raise refuse("invalid_request", "subject_token is unknown or has expired")
    ask.trace["user"] = token.grant.subject
    scopes, audience = within(token.scopes, form("scope")), audience_of(form)
    actor = _actor(realm, form)
    members = realm.access(token.grant, scopes, audience=audience, client=client.id, actor=actor)
    return {**members, "issued_token_type": ACCESS_TOKEN_TYPE}


def _actor(realm: Realm, form: Params) -> str:
    if not form("actor_token"):
        return ""
    actor = realm.books.access.find(form("actor_token"))
    if actor is None or not actor.lives(realm.clock()) or form("actor_token_type") != ACCESS_TOKEN_TYPE:
        raise refuse("invalid_request", "actor_token is unknown, has expired, or is of another type")
    return actor.grant.subject


def by_assertion(realm: Realm, ask: Ask, form: Params) -> Members:
    """Give a token for whom the assertion names, as Google's service accounts do: no refresh token (RFC 7523).

    Unlike the other grants it finds its client itself: the assertion may be all the proof there is (RFC 7521
    section 4.1).
    """
    proves = ask.header("authorization") or form("client_secret") or form("client_assertion")
    proven = prove(realm, ask, form) if proves else None
    try:
        client, _way, claims = read_assertion(realm, form("assertion"))
    except (TokenRefused, RequestRefused) as refused:
        raise refuse("invalid_grant", f"the assertion does not hold: {shown(refused)}") from None
    ask.trace["client"] = client.id
    if proven not in {None, client} or form("client_id") not in {"", client.id}:
        raise refuse("invalid_grant", "the assertion does not hold: another client signed it")
    if "jwt_bearer" not in client.grants:
        raise refuse("unauthorized_client", "this client may not use this grant_type")
    if len(claims.subject) > SUBJECT_LIMIT or not claims.subject.isprintable():
        raise refuse("invalid_grant", "the assertion does not hold: its subject is no name")
    ask.trace["user"] = claims.subject
    named = claims.get("scope")  # Google wants the scopes in the assertion
    scopes = realm.scopes_for(client, form("scope") or (named if isinstance(named, str) else ""))
    return realm.access(realm.grant("jwt_bearer", client.id, claims.subject, scopes, audience_of(form)), scopes)


HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "authorization_code": by_code,
        "client_credentials": by_client,
        "refresh_token": by_refresh,
        "device_code": by_device,
        "token_exchange": by_exchange,
    }
)
"""The functions by the short names of wire.GRANTS; jwt_bearer is apart, because it finds its client itself."""
