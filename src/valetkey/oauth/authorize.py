"""The authorization request, and what comes back by redirect (RFC 6749 section 4.1, RFC 9207, RFC 8707).

An answer that was not checked cannot be redeemed: `code_request` takes only an AuthorizationCode, and only
`read_redirect` makes one.
What may not be here: the pending record (vault/), the other grants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from valetkey.errors import CallbackRefused, InvalidInput
from valetkey.oauth import pkce
from valetkey.oauth.client import Client, Form, Stamp, ask, endpoint, merged, revealed
from valetkey.oauth.plain import Members
from valetkey.oauth.refusal import redirect_error
from valetkey.values import EMPTY, Request, Scopes, Secret, secure_url

PROTECTED: Final = frozenset(
    {"client_id", "code_challenge", "code_challenge_method", "redirect_uri", "response_type", "state"}
    | {"client_secret", "client_assertion", "code_verifier", "refresh_token"}
)
"""What `extra` may never set: each binds the answer to this client, this login and this machine, or is a secret that
belongs into no address."""

ANSWER_LIMIT: Final = 16 << 10
"""Most characters of a redirect. Codes of Microsoft Entra reach 2 KiB; servers cut request lines at 8 to 16 KiB."""

KEPT_LIMIT: Final = 4_096
"""Most characters of a kept parameter, as in a token answer."""

FIELD_LIMIT: Final = 100
"""Most parameters of a redirect; real ones have fewer than ten."""


def scopes_to_ask(client: Client, scopes: Iterable[str]) -> Scopes:
    """Return the scopes that a person is asked for: these, or the provider's usual ones, and the offline ones once."""
    provider = client.provider
    return Scopes((*(tuple(scopes) or provider.scopes), *provider.offline_scopes))


def authorization_url(
    client: Client,
    *,
    redirect_uri: str,
    scopes: Iterable[str],
    state: Secret,
    challenge: str | None = None,
    extra: Mapping[str, str] = EMPTY,
    resource: Iterable[str] = (),
    nonce: str = "",
) -> str:
    """Return the URL to open in the person's browser (RFC 6749 section 4.1.1, RFC 7636 section 4.3).

    `challenge` is sent unless the provider is known to refuse PKCE; `resource` is RFC 8707's. `extra` may replace
    the provider's usual parameters, or leave one out by an empty value. The URL holds the state: not for logs.
    Raises InvalidInput, InsecureUrl.
    """
    asking = client.provider.asking
    proof = challenge if challenge and asking.pkce != "off" else ""
    ours: Form = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": secure_url(redirect_uri, "redirect URI"),
        asking.scope_param: scopes_to_ask(client, scopes).join(asking.scope_separator),
        "state": state,
        "code_challenge": proof,
        "code_challenge_method": pkce.METHOD if proof else "",
        "resource": tuple(resource),
        "nonce": nonce,
    }
    sent = merged(asking.authorize_params, ours, extra, PROTECTED)
    parts = urlsplit(endpoint(client.provider, "authorize"))
    # "The endpoint URI MAY include a query component, which MUST be retained" (RFC 6749 section 3.1), but
    # "Request and response parameters MUST NOT be included more than once": ours go before.
    query = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **{k: revealed(v) for k, v in sent.items() if v}}
    return urlunsplit(parts._replace(query=urlencode(query, doseq=True, quote_via=quote, safe="")))


@dataclass(frozen=True, slots=True)
class Expected:
    """Be what a redirect must agree with, as it was when the login began; `issuer` is empty where it is unknown."""

    state: Secret
    issuer: str
    redirect_uri: str
    requires_iss: bool


_SEAL: Final = object()


@final
class AuthorizationCode:
    """Be a code whose redirect held: state, issuer and error were checked. Only `read_redirect` makes one.

    It is good for the client it was read for. `kept` are the redirect's parameters that the catalogue calls worth
    keeping (realmId); `redirect_uri` is repeated when the code is redeemed.
    """

    __slots__ = ("code", "kept", "redirect_uri", "registration")

    def __init__(self, code: Secret, client: Client, redirect_uri: str, kept: dict[str, str], *, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only read_redirect makes an AuthorizationCode: the redirect must be checked first")
        self.code = code
        self.redirect_uri = redirect_uri
        self.kept = kept
        self.registration = _registration(client)

    def __repr__(self) -> str:
        return f"<AuthorizationCode for {self.redirect_uri!r}>"


def _registration(client: Client) -> tuple[str, str]:
    return client.client_id, client.provider.endpoints.token


def read_redirect(answer: str | Secret, expected: Expected, client: Client) -> AuthorizationCode:
    """Check what came back by redirect, a whole URL or its query, and return the code (RFC 6749 section 4.1.2).

    First the state, then the issuer (RFC 9207), and only then what the answer says.
    Raises CallbackRefused (`code` says which check failed), ConsentDenied, RequestRefused.
    """
    parsed = _parsed(answer)
    del answer  # it holds the code, and a traceback with variables would show it
    members = _parameters(parsed)
    if _state(members) != expected.state:
        raise CallbackRefused(
            "this answer belongs to another login",
            code="state_unknown",
            cause="its `state` is not the one this login began with: an old link, another window, or a forgery",
        )
    _check_issuer(members, expected)
    if members.get("error"):
        raise redirect_error(client.provider, members, (*client.secrets, *_secrets(members)))
    if not members.get("code"):
        raise CallbackRefused(
            "the answer holds neither a code nor an error",
            code="code_missing",
            cause="the address was cut when it was copied, or the provider answered in a way we did not ask for",
        )
    kept = {name: text for name in client.provider.answer.keep if (text := members.get(name) or "") and _is_kept(text)}
    return AuthorizationCode(Secret(members.get("code")), client, expected.redirect_uri, kept, seal=_SEAL)


def _is_kept(text: str) -> bool:
    return text.isprintable() and len(text) <= KEPT_LIMIT


def code_request(
    client: Client, code: AuthorizationCode, *, verifier: Secret | None, stamp: Stamp, resource: Iterable[str] = ()
) -> Request:
    """Ask for tokens for a code that came back by a checked redirect (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

    `verifier` is left out where the provider is known to refuse PKCE. Raises InvalidInput, InsecureUrl.
    """
    if type(code) is not AuthorizationCode:
        raise TypeError("a code is redeemed only as read_redirect returned it")
    if code.registration != _registration(client):
        raise InvalidInput("the code was given to another app", fix="redeem it with the app that asked for it")
    asking = client.provider.asking
    ours: Form = {
        "grant_type": "authorization_code",
        "code": code.code,
        "redirect_uri": code.redirect_uri,
        "code_verifier": verifier if verifier and asking.pkce != "off" else "",
        "resource": tuple(resource),
    }
    return ask(client, "token", merged(asking.token_params, ours, EMPTY), stamp=stamp)


def state_of(answer: str | Secret) -> Secret:
    """Return the state of a redirect, only to look up the login it belongs to; nothing is checked yet.

    Raises CallbackRefused: state_missing, invalid_callback.
    """
    parsed = _parsed(answer)
    del answer  # as above
    return _state(_parameters(parsed))


def _secrets(members: Members) -> tuple[Secret, ...]:
    """Return what of a redirect its own error text may not repeat."""
    return tuple(Secret(members.get(name)) for name in ("state", "code") if name in members)


def _state(members: Members) -> Secret:
    if not members.get("state"):
        raise CallbackRefused(
            "the answer holds no `state`",
            code="state_missing",
            cause="the address was cut when it was copied, or it does not come from a login begun here",
        )
    return Secret(members.get("state"))


def _check_issuer(members: Members, expected: Expected) -> None:
    """Hold RFC 9207 section 2.4, which guards against an answer of another server (mix-up)."""
    got = members.get("iss")
    if got is None:
        if expected.requires_iss:
            raise CallbackRefused(
                "the answer does not say which server it comes from",
                code="issuer_missing",
                cause="this provider always sends `iss` (RFC 9207), and this answer has none",
            )
        return
    # "MUST compare the result with the issuer identifier of the authorization server where the authorization
    # request was sent to ... using simple string comparison". An issuer we do not know cannot be compared.
    if got != expected.issuer and (expected.issuer or expected.requires_iss):
        raise CallbackRefused(
            "the answer comes from another server than the one that was asked",
            code="issuer_mismatch",
            cause="its `iss` is not this provider's issuer (RFC 9207): a mix-up attack, or a wrong `endpoints.issuer`",
        )


def _parameters(parsed: Members | str) -> Members:
    """Return the parameters; raises for what was found wrong with them."""
    if isinstance(parsed, Members):
        return parsed
    raise CallbackRefused(
        parsed,
        code="invalid_callback",
        cause="the address was damaged when it was copied, or it does not come from the provider",
        fix="copy the whole address of the page the browser ended on, or start again with `valetkey connect`",
    )


def _parsed(answer: str | Secret) -> Members | str:
    """Return the parameters of a redirect, each once, or what is wrong with it: no traceback shall lead to its text.

    A fragment is not read, for no answer of ours comes in one.
    """
    text = (answer.reveal() if isinstance(answer, Secret) else answer).strip()
    if len(text) > ANSWER_LIMIT:
        return "the answer is too long to be one"
    bare = text.partition("#")[0]
    head, mark, tail = bare.partition("?")
    query = tail if mark and ("://" in head or head.startswith("/") or not head) else bare
    try:
        query.encode()
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=FIELD_LIMIT, errors="strict")
    except ValueError:
        return "the answer cannot be read as a URL's query"
    members = Members(pairs)
    # "Request and response parameters MUST NOT be included more than once" (RFC 6749 section 3.1).
    if len(members) != len(pairs):
        return "the answer holds a parameter twice"
    if any(ord(c) < 0x20 or ord(c) == 0x7F for _name, value in pairs for c in value):
        return "the answer holds a control character"
    return members
