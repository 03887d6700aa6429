"""Make tokens: `sign` for JWTs (RFC 7519), `sign_bytes` for a JWS of any payload (RFC 7515).

What may not be here: clocks and randomness; the time and the `jti` are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from math import isfinite
from typing import Any, Final, NoReturn

import msgspec

from valetkey.jose.key import Key
from valetkey.jose.objects import MAX_DEPTH
from valetkey.jose.reasons import config_error, shown
from valetkey.jose.rules import NEVER
from valetkey.jose.wire import encode

LIFETIME: Final = timedelta(minutes=15)
"""How long a token lives unless said otherwise: short enough that revoking is rarely needed."""

_DEFAULT_SECONDS: Final = int(LIFETIME.total_seconds())

LIFETIME_MOST: Final = timedelta(minutes=60)
"""How long a token may live without `allow_long_lifetime`."""

TOKEN_LIMIT: Final = 16 * 1024
"""Longest token, in characters. Common servers refuse headers from 8 KiB on; joserfc stops at 128 000 bytes."""

SAFE_INTEGER: Final = 2**53
"""Numbers from here on are not the same in every JSON parser (RFC 8259 section 6)."""

_REGISTERED: Final = frozenset({"iss", "sub", "aud", "exp", "iat", "jti", "scope"})
_json: Final = msgspec.json.Encoder().encode


def sign(  # noqa: PLR0913  # one keyword for each claim of RFC 7519 and RFC 9068, none positional
    key: Key,
    *,
    now: float,
    jti: str,
    issuer: str | None = None,
    subject: str | None = None,
    audience: str | Iterable[str] | None = None,
    scope: str | Iterable[str] | None = None,
    lifetime: timedelta = LIFETIME,
    typ: str = "JWT",
    claims: Mapping[str, Any] | None = None,
    allow_long_lifetime: bool = False,
    thumbprint: bool = True,
) -> str:
    """Return a signed JWT with `iat`, `exp` and `jti`.

    `now` is seconds since 1970. `claims` adds others; it may not name those that have an argument of their own.
    `thumbprint=False` leaves out a `kid` that was not given, for verifiers that know the key by another name.
    Raises InvalidInput (code config_error) for what cannot be meant, KeyRefused if the key cannot sign.
    """
    if type(key) is not Key or not 0 <= now <= NEVER:
        raise _unusable(key)
    seconds = _DEFAULT_SECONDS if lifetime is LIFETIME else _seconds(lifetime, allow_long=allow_long_lifetime)
    issued = int(now)
    body = {"iss": issuer, "sub": subject, "aud": audience, "scope": scope, "iat": issued, "exp": issued + seconds}
    body["jti"] = jti
    if not (type(issuer) is type(subject) is type(audience) is type(scope) is str):
        body = _settled(body)
    if claims is not None:
        _add(body, claims)
    head = (key.memo.get(typ) if thumbprint else None) or key.head(typ, thumbprint=thumbprint)
    try:
        message = head + encode(_json(body))
    except UnicodeEncodeError:
        raise config_error("a claim holds half a character (a lone surrogate)") from None
    token = (
        message + b"." + encode(key.signer(message))
    )  # not shared with sign_bytes: here a call costs half a per cent
    return token.decode() if len(token) <= TOKEN_LIMIT else _refuse_long(token)


def sign_bytes(payload: bytes, key: Key, *, typ: str = "") -> str:
    """Return the JWS of any payload, in compact form (RFC 7515 section 3.1). It has no expiry: prefer `sign`."""
    if type(key) is not Key:
        raise _unusable(key)
    if type(payload) is not bytes:
        raise config_error(f"the payload is of type {type(payload).__name__}", fix="give bytes: text.encode()")
    message = key.head(typ) + encode(payload)
    token = message + b"." + encode(key.signer(message))
    return token.decode() if len(token) <= TOKEN_LIMIT else _refuse_long(token)


def _refuse_long(token: bytes) -> NoReturn:
    raise config_error(
        f"the token would have {len(token)} characters, {TOKEN_LIMIT} is the most",
        fix="put less into the claims; send large things as the body of the request",
    )


def _seconds(lifetime: timedelta, *, allow_long: bool) -> int:
    if not isinstance(lifetime, timedelta):
        raise config_error(
            "the lifetime is not a timedelta", fix="from datetime import timedelta; timedelta(minutes=15)"
        )
    if lifetime <= timedelta(0):
        raise config_error("the lifetime is not positive")
    if lifetime > LIFETIME_MOST and not allow_long:
        raise config_error(
            f"a lifetime of {lifetime} is longer than {LIFETIME_MOST}",
            fix="issue shorter tokens more often, or say allow_long_lifetime=True",
        )
    return int(lifetime.total_seconds()) or 1


def _settled(body: dict[str, Any]) -> dict[str, Any]:
    """Return the claims without those not given, audience and scope in the form of their RFC."""
    body = {name: value for name, value in body.items() if value is not None}
    for name in ("iss", "sub"):
        if not isinstance(body.get(name, ""), str):
            raise config_error(f"{name} is not a string", fix="verifiers refuse it otherwise (RFC 7519): str(…)")
    audience, scope = body.get("aud", ""), body.get("scope", "")
    if type(audience) is not str:
        listed = _texts(audience, "audience")
        body["aud"] = listed[0] if len(listed) == 1 else listed
    if type(scope) is not str:
        body["scope"] = " ".join(_texts(scope, "scope"))
    return body


def _texts(given: Any, what: str) -> list[str]:
    listed = list(given) if isinstance(given, Iterable) else []
    if not listed or not all(isinstance(text, str) for text in listed):
        raise config_error(f"the {what} is neither a string nor a list of strings")
    return listed


def _unusable(given: object) -> Exception:
    if type(given) is Key:
        return config_error("the time is not a number of seconds since 1970")
    return config_error(
        f"the key is of type {type(given).__name__}",
        fix="sign(Key.secret(…, alg='HS256'), …) or sign(Key.from_pem(…), …); claims are keyword arguments",
    )


def _add(body: dict[str, Any], claims: Mapping[Any, Any]) -> None:
    for name, value in claims.items():
        if name in _REGISTERED:
            raise config_error(f"the claim {name} has an argument of its own", fix="pass it as that argument")
        if not isinstance(name, str) or not _plain(value, 1):
            raise config_error(f"the claim {shown(name)} is not plain JSON of strings, numbers, lists and objects")
        body[name] = value


def _plain(value: object, depth: int) -> bool:
    """Say whether a value means the same to every JSON parser."""
    if depth >= MAX_DEPTH:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _plain(item, depth + 1) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_plain(item, depth + 1) for item in value)
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return -SAFE_INTEGER < value < SAFE_INTEGER
    return value is None or isinstance(value, (str, bool))
