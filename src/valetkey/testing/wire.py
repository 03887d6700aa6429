"""Read what is asked of the sandbox, and write its answers: parameters, cookies, JSON, forms, refusals.

A refusal is `errors.RequestRefused` whose code is the OAuth one and whose message is the error_description.
What may not be here: sockets, clocks, what any endpoint means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from valetkey.errors import RequestRefused
from valetkey.values import EMPTY, Request, Response

FIELD_LIMIT: Final = 64
"""Most parameters in one request: RFC 6749 and its family define about forty."""

BODY_LIMIT: Final = 64 * 1024
"""Most bytes of a body: a token request with a long assertion stays under 16 KiB."""

MAY_REPEAT: Final = frozenset({"resource", "audience"})
"""RFC 8707 section 2 and RFC 8693 section 2.1 let these occur more than once; RFC 6749 section 3.2 no other."""

GRANTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "authorization_code": "authorization_code",
        "client_credentials": "client_credentials",
        "refresh_token": "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code": "device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer": "jwt_bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange": "token_exchange",
    }
)
"""Values of grant_type, and the short names by which the log and the clients call them."""

NO_STORE: Final[Mapping[str, str]] = MappingProxyType({"cache-control": "no-store", "pragma": "no-cache"})


class Params:
    """Hold the parameters of a query or a body; those without a value count as left out (RFC 6749 section 3.1)."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple((name, value) for name, value in pairs if value)

    def __call__(self, name: str) -> str:
        """Return the first value, or the empty string."""
        return next((value for known, value in self.pairs if known == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value."""
        return tuple(value for known, value in self.pairs if known == name)

    @property
    def repeated(self) -> str:
        """Return the name of a parameter that occurs more often than it may, or the empty string."""
        names = [name for name, _value in self.pairs if name not in MAY_REPEAT]
        return next((name for name in names if names.count(name) > 1), "")

    def without(self, *names: str) -> Params:
        """Return the parameters that are not called so."""
        return Params((name, value) for name, value in self.pairs if name not in names)

    def encoded(self) -> str:
        """Return them as a query string."""
        return urlencode(self.pairs)

    def __repr__(self) -> str:
        return f"<Params {sorted({name for name, _value in self.pairs})}>"


@dataclass(frozen=True, slots=True)
class Ask:
    """Be a request as the endpoints see it. `trace` is what the log will say of it: grant, client, user."""

    method: str
    path: str
    query: Params
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    trace: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """Return a header's value, or the empty string; names are lower case."""
        return self.headers.get(name, "")


def read_ask(request: Request) -> Ask:
    """Take a request apart; raises RequestRefused (invalid_request)."""
    parts = urlsplit(request.url)
    return Ask(
        request.method,
        parts.path or "/",
        _params(parts.query),
        request.headers,
        request.body,
        _cookies(request.headers.get("cookie", "")),
    )


def read_form(ask: Ask) -> Params:
    """Return the parameters of a body, form-encoded or one flat JSON object; raises RequestRefused."""
    kind = ask.header("content-type").split(";", 1)[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        try:
            return _params(ask.body.decode())
        except UnicodeDecodeError:
            raise refuse("invalid_request", "the body is not UTF-8") from None
    if kind == "application/json":
        return _flat_json(ask.body)
    raise refuse("invalid_request", "the body must be application/x-www-form-urlencoded")


def wrote_json(ask: Ask) -> bool:
    """Say whether the body came as JSON."""
    return ask.header("content-type").split(";", 1)[0].strip().lower() == "application/json"


def _params(text: str) -> Params:
    try:
        return Params(parse_qsl(text, max_num_fields=FIELD_LIMIT, errors="strict"))
    except ValueError:
        raise refuse("invalid_request", "the parameters cannot be read, or are too many") from None


def _flat_json(body: bytes) -> Params:
    try:
        members = msgspec.json.decode(body, type=dict[str, str | list[str]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise refuse("invalid_request", "the body is not a flat JSON object of strings") from None
    if len(members) > FIELD_LIMIT:
        raise refuse("invalid_request", "the parameters are too many")
    pairs = ((name, [value] if isinstance(value, str) else value) for name, value in members.items())
    return Params((name, value) for name, values in pairs for value in values)


def _cookies(header: str) -> dict[str, str]:
    parts = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, separator, value in parts if separator}


def refuse(code: str, description: str, *, status: int = 400, scope: str = "", challenge: str = "") -> RequestRefused:
    """Make a refusal to raise; `challenge` names the scheme of a WWW-Authenticate header (RFC 6750 section 3)."""
    return RequestRefused(description, code=code, status=status, scope=scope, challenge=challenge)


def json(members: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = EMPTY) -> Response:
    """Answer with a JSON object that nobody may keep (RFC 6749 section 5.1)."""
    return Response(status, {"content-type": "application/json", **NO_STORE, **headers}, msgspec.json.encode(members))


def form(members: Mapping[str, Any], status: int = 200) -> Response:
    """Answer form-encoded, as GitHub does."""
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8", **NO_STORE}
    return Response(status, headers, urlencode(members).encode())


def error(refused: RequestRefused) -> Response:
    """Answer a refusal as JSON (RFC 6749 section 5.2, RFC 6750 section 3)."""
    headers: dict[str, str] = {}
    scheme = str(refused.evidence.get("challenge", ""))
    if scheme:
        headers["www-authenticate"] = f'{scheme} realm="sandbox"' + (
            _bearer_error(refused) if scheme == "Bearer" else ""
        )
    return json({"error": refused.code, "error_description": refused.message}, refused.status, headers)


def _bearer_error(refused: RequestRefused) -> str:
    # RFC 6750 section 3.1: a request without any token is told no error code.
    if refused.code == "token_missing":
        return ""
    scope = str(refused.evidence.get("scope", ""))
    told = f', error="{refused.code}", error_description="{refused.message}"'
    return f'{told}, scope="{scope}"' if scope else told


def redirect(url: str, status: int = 303, headers: Mapping[str, str] = EMPTY) -> Response:
    """Send the browser elsewhere; 303 turns the POST of a form into a GET (RFC 9700 section 4.12)."""
    return Response(status, {"location": url, "referrer-policy": "no-referrer", **NO_STORE, **headers})
