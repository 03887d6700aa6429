"""Discovery: make a Provider of what an issuer publishes of itself (RFC 8414, OpenID Connect Discovery 1.0).

What may not be here: asking for the document, remembering it.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from valetkey.errors import InsecureUrl, InvalidInput
from valetkey.oauth.body import good_members
from valetkey.oauth.client import LIMIT, TIMEOUT
from valetkey.oauth.places import lies_inside
from valetkey.oauth.plain import Members, visible
from valetkey.oauth.refusal import bad_answer
from valetkey.providers.schema import Asking, Endpoints, GrantName, Provider, TokenAuth
from valetkey.values import Request, Response, is_loopback, secure_url

URL_LIMIT: Final = 2_048
"""Most characters of a URL in the document; real ones have about a hundred."""

METHODS: Final[tuple[TokenAuth, ...]] = (
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "client_secret_jwt",
    "none",
)
"""What we choose among, most usual first: the document does not say which one this app was registered with."""

GRANTS: Final[dict[str, GrantName]] = {
    "authorization_code": "authorization_code",
    "client_credentials": "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code": "device_code",
    "urn:ietf:params:oauth:grant-type:jwt-bearer": "jwt_bearer",
    "urn:ietf:params:oauth:grant-type:token-exchange": "token_exchange",
}

ENDPOINTS: Final = {
    "token": "token_endpoint",
    "authorize": "authorization_endpoint",
    "device": "device_authorization_endpoint",
    "revoke": "revocation_endpoint",
    "introspect": "introspection_endpoint",
    "jwks": "jwks_uri",
}


def discovery_requests(issuer: str, *, allow_private: bool = False) -> tuple[Request, ...]:
    """Return the requests to try, in this order, until one is answered well. Raises InvalidInput, InsecureUrl.

    `allow_private` is for an issuer in one's own network; else only public addresses are asked, loopback excepted.

    RFC 8414 section 3.1 puts the well-known part between host and path; OpenID Connect Discovery section 4 after it.
    """
    parts = urlsplit(secure_url(issuer, "issuer"))
    if parts.query or issuer.endswith("?"):
        # "using the "https" scheme with no query or fragment components" (RFC 8414 section 2).
        raise InvalidInput("an issuer has no query", fix="leave out the ? and what follows it")
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    urls = (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )
    headers = {"accept": "application/json"}
    public = _public_only(issuer, allow_private=allow_private)
    return tuple(Request("GET", url, headers, timeout=TIMEOUT, limit=LIMIT, public_only=public) for url in urls)


def _public_only(issuer: str, *, allow_private: bool) -> bool:
    return not allow_private and not is_loopback(urlsplit(issuer).hostname or "")


def read_discovery(issuer: str, response: Response, *, allow_private: bool = False) -> Provider:
    """Return the provider that an issuer describes itself as.

    Its endpoints are public, and only asked where they are, unless the issuer is on loopback, or `allow_private` lets
    them lie in one's own network. Never does an issuer elsewhere lead to loopback or to link-local addresses.

    Raises BadAnswer (also when the document speaks of another issuer, RFC 8414 section 3.3), ProviderUnavailable.
    """
    host = urlsplit(secure_url(issuer, "issuer")).netloc
    members = good_members(Provider(key="discovered", name=host), response, proof="issuer")
    # "The "issuer" value returned MUST be identical to the authorization server's issuer identifier value".
    theirs = members.get("issuer")
    if theirs != issuer:
        refusal = bad_answer(host, response, "issuer_mismatch", f"it describes another issuer than {issuer!r}")
        if theirs == issuer.rstrip("/") or theirs == f"{issuer}/":
            refusal.cause = "the two must be the same to the letter, and only the slash at the end is not"
            refusal.fix = f"name the issuer as it calls itself: {theirs}"
        raise refusal
    found = {name: _url(members.get(theirs), theirs, issuer, response) for name, theirs in ENDPOINTS.items()}
    urls = {
        name: _outside(url, ENDPOINTS[name], issuer, response, allow_private=allow_private)
        for name, url in found.items()
    }
    if not urls["token"]:
        raise bad_answer(host, response, "no_token_endpoint", "it names no token_endpoint")
    offline = "offline_access" in _texts(members, "scopes_supported")
    return Provider(
        key="discovered",
        name=host,
        endpoints=Endpoints(issuer=issuer, **urls),
        grants=_grants(members, device=bool(urls["device"])),
        asking=msgspec.structs.replace(
            _asking(members, host, response, offline=offline),
            public_only=_public_only(issuer, allow_private=allow_private),
        ),
        offline_scopes=["offline_access"] if offline else [],
    )


def _asking(members: Members, host: str, response: Response, *, offline: bool) -> Asking:
    # "If omitted, the default is client_secret_basic" (RFC 8414 section 2).
    offered = _texts(members, "token_endpoint_auth_methods_supported") or ("client_secret_basic",)
    chosen = next((method for method in METHODS if method in offered), None)
    if chosen is None:
        raise bad_answer(host, response, "no_client_auth", "it takes no client authentication that valetkey knows")
    # Many OpenID providers take S256 and do not say so; only a list without S256 says that it is not taken.
    pkce_methods = _texts(members, "code_challenge_methods_supported")
    consent = {"prompt": "consent"} if offline else {}
    return Asking(
        token_auth=chosen,
        pkce="off" if pkce_methods and "S256" not in pkce_methods else "S256",
        # "the prompt parameter value MUST contain consent unless other conditions ... are in place" (OpenID Connect
        # Core section 11); a plain OAuth server ignores the parameter.
        authorize_params=consent,
        device_params=consent,
        sends_iss=members.get("authorization_response_iss_parameter_supported") is True,
    )


def _grants(members: Members, *, device: bool) -> list[GrantName]:
    # "If omitted, the default value is ["authorization_code", "implicit"]" (RFC 8414 section 2).
    offered = _texts(members, "grant_types_supported") or ("authorization_code",)
    grants = [ours for theirs, ours in GRANTS.items() if theirs in offered]
    if device and "device_code" not in grants:
        grants.append("device_code")
    return grants


def _texts(members: Members, name: str) -> tuple[str, ...]:
    value = members.get(name)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _url(value: Any, what: str, issuer: str, response: Response) -> str:
    """Return an endpoint, or the empty string for none."""
    if value is None:
        return ""
    host = urlsplit(issuer).netloc
    try:
        url = secure_url(visible(value) or "", what)
    except (InvalidInput, InsecureUrl) as refusal:
        raise bad_answer(host, response, "bad_endpoint", f"its {what} is no https URL") from refusal
    if len(url) > URL_LIMIT:
        raise bad_answer(host, response, "bad_endpoint", f"its {what} is too long to be one")
    return url


def _outside(url: str, what: str, issuer: str, response: Response, *, allow_private: bool) -> str:
    """Return an endpoint that does not lead inside, unless the issuer itself is on loopback."""
    parts, home = urlsplit(url), urlsplit(issuer)
    if (
        not url
        or is_loopback(home.hostname or "")
        or not lies_inside(parts.hostname or "", allow_private=allow_private)
    ):
        return url
    raise bad_answer(home.netloc, response, "bad_endpoint", f"its {what} is not one a stranger may name")
