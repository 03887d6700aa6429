"""The authorization endpoint: check the request, ask the person, send the browser back (RFC 6749 section 4.1).

What is wrong before client and redirect URI are known is shown on a page; all else goes back to the client.
What may not be here: how pages look.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from valetkey.errors import RequestRefused
from valetkey.testing import pages, wire
from valetkey.testing.books import Code
from valetkey.testing.clients import SandboxClient
from valetkey.testing.grants import audience_of
from valetkey.testing.realm import Realm
from valetkey.testing.session import cookie_name, guard, session_of, signed_in
from valetkey.testing.wire import Ask, Params, refuse
from valetkey.values import Response, Scopes

CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""A SHA-256 in base64url (RFC 7636 section 4.2)."""

PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
"""OpenID Connect Core section 3.1.2.1."""

ANEW: Final = frozenset({"login", "select_account"})
"""Those that ask the person who she is, even if we know."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Be an authorization request whose client and redirect URI are known to belong together."""

    client: SandboxClient
    redirect_uri: str
    params: Params


@dataclass(frozen=True, slots=True)
class Wanted:
    """Be what a checked request wants."""

    scopes: Scopes
    audience: tuple[str, ...]
    prompts: frozenset[str]
    challenge: str


def authorize(realm: Realm, ask: Ask) -> Response:
    """Answer GET and POST /authorize."""
    asked = _whose(realm, ask)  # a refusal here is shown on a page
    try:
        wanted = _check(realm, asked)
    except RequestRefused as refused:
        return _refused(realm, ask, asked, refused.code, refused.message)
    if "none" in wanted.prompts:
        return _silently(realm, ask, asked, wanted)
    return _ask(realm, ask, asked, wanted)


def _whose(realm: Realm, ask: Ask) -> Asked:
    """Find client and redirect URI; what is wrong here must not redirect (RFC 6749 section 4.1.2.1)."""
    params = ask.query
    if params.repeated in {"client_id", "redirect_uri"}:
        raise refuse("invalid_request", f"The parameter {params.repeated} occurs more than once.")
    client = realm.clients.get(params("client_id"))
    if client is None:
        raise refuse("invalid_client", "No app is registered here under this client_id.")
    ask.trace["client"] = client.id
    redirect_uri = params("redirect_uri")
    if not redirect_uri and len(client.redirect_uris) == 1:
        redirect_uri = client.redirect_uris[0]
    if not redirect_uri or not client.owns(redirect_uri):
        raise refuse("redirect_uri_mismatch", "The redirect_uri is not one of those registered for this app.")
    return Asked(client, redirect_uri, params)


def _check(realm: Realm, asked: Asked) -> Wanted:
    """Check the rest; raises RequestRefused, which goes to the client."""
    params = asked.params
    if params.repeated:
        raise refuse("invalid_request", "a parameter occurs more than once")
    if params("response_type") != "code":
        raise refuse("unsupported_response_type", "response_type must be code")
    if params("response_mode") not in {"", "query"}:
        raise refuse("invalid_request", "response_mode can only be query")
    if "authorization_code" not in asked.client.grants:
        raise refuse("unauthorized_client", "this client may not ask for a code")
    challenge = params("code_challenge")
    if not challenge and realm.manner.pkce == "required":
        raise refuse("invalid_request", "code_challenge is missing: PKCE is required")
    if challenge and (params("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge)):
        raise refuse("invalid_request", "code_challenge must be of the method S256")
    prompts = frozenset(params("prompt").split())
    if not prompts <= PROMPTS or ("none" in prompts and len(prompts) > 1):
        raise refuse("invalid_request", "prompt must be none, or of login, consent, select_account")
    scopes = realm.scopes_for(asked.client, params("scope"))
    return Wanted(scopes, audience_of(params), prompts, challenge)


def _silently(realm: Realm, ask: Ask, asked: Asked, wanted: Wanted) -> Response:
    """Answer without a page, if the person is here and consented before."""
    session = session_of(realm, ask)
    if session is None or not session.user:
        return _refused(realm, ask, asked, "login_required", "nobody is logged in")
    ask.trace["user"] = session.user
    given = realm.books.alive(session.user, asked.client.id)
    if not any(not grant.scopes.missing(wanted.scopes) for grant in given):
        return _refused(realm, ask, asked, "consent_required", "the person has not allowed this yet")
    return _allowed(realm, asked, wanted, session.user)


def _ask(realm: Realm, ask: Ask, asked: Asked, wanted: Wanted) -> Response:
    """Show the login page, then the consent page, and obey the decision."""
    params = asked.params
    if wanted.prompts & ANEW:
        realm.books.sessions.drop(ask.cookies.get(cookie_name(realm.issuer), ""))
        # The forms lead to the address without this wish, else the browser would turn in circles.
        rest = " ".join(sorted(wanted.prompts - ANEW))
        params = Params([*params.without("prompt").pairs, ("prompt", rest)])
    action = f"/authorize?{params.encoded()}"
    session = signed_in(realm, ask, action, to=asked.redirect_uri)
    if isinstance(session, Response):
        return session
    if ask.method == "POST":
        form = wire.read_form(ask)
        guard(session, form)
        if form("decision") == "allow":
            return _allowed(realm, asked, wanted, session.user)
        return _refused(realm, ask, asked, "access_denied", "the person pressed deny")
    name, scopes = asked.client.name, wanted.scopes
    return pages.consent(action, session.csrf, client=name, user=session.user, scopes=scopes, to=asked.redirect_uri)


def _allowed(realm: Realm, asked: Asked, wanted: Wanted, user: str) -> Response:
    text = realm.draw("sbx_code_")
    code = Code(
        client=asked.client.id,
        user=user,
        scopes=wanted.scopes,
        audience=wanted.audience,
        redirect_uri=asked.params("redirect_uri"),
        challenge=wanted.challenge,
        offline=realm.wants_refresh(asked.client, wanted.scopes, asked.params("access_type")),
        expires=realm.clock() + realm.manner.code_lifetime,
    )
    realm.books.codes.put(text, code)
    return _back(realm, asked, {"code": text, **dict(realm.manner.callback_params)})


def _refused(realm: Realm, ask: Ask, asked: Asked, code: str, description: str) -> Response:
    ask.trace["outcome"] = code
    return _back(realm, asked, {"error": code, "error_description": description})


def _back(realm: Realm, asked: Asked, answer: Mapping[str, str]) -> Response:
    """Send the browser back to the client, with state and issuer (RFC 6749 section 4.1.2, RFC 9207 section 2)."""
    state = asked.params("state")
    answer = {**answer, **({"state": state} if state else {}), "iss": realm.issuer}
    joint = "&" if "?" in asked.redirect_uri else "?"
    return wire.redirect(f"{asked.redirect_uri}{joint}{urlencode(answer)}")
