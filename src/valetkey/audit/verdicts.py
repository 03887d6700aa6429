"""Tokens signed and verified, as events: whom they speak of, and their fingerprints.

Of a token that was refused only its fingerprint is told, because what it says may be a lie. What may not be here:
signing, verifying, and whole tokens in what is told.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import Any

import msgspec

from valetkey.effects import Event
from valetkey.errors import InvalidInput, TokenRefused
from valetkey.jose.claims import Claims
from valetkey.jose.policy import Policy
from valetkey.jose.signing import TOKEN_LIMIT
from valetkey.values import Secret


def issued(token: str) -> Event:
    """Return that a token of our own is given away; raises InvalidInput for what is no signed JWT."""
    parts = token.split(".")
    head, body = (_members(parts[0]), _members(parts[1])) if len(parts) == 3 else (None, None)
    if head is None or body is None:
        raise InvalidInput("this is no signed token", fix="give what valetkey.tokens.sign returned")
    audience = body.get("aud", "")
    told = {
        "subject": body.get("sub", ""),
        "audience": audience if isinstance(audience, str) else " ".join(map(str, audience)),
        "scope": body.get("scope", ""),
        "token_id": body.get("jti", ""),
        "expires": body.get("exp", ""),
        "key": head.get("kid", ""),
    }
    return Event("jwt.issued", str(body.get("iss", "")), detail=_detail(token, told))


def verified(token: str | bytes, claims: Claims) -> Event:
    """Return that a token was taken."""
    told = {"subject": claims.subject, "audience": " ".join(claims.audience), "token_id": claims.token_id}
    return Event("jwt.verified", claims.issuer, detail=_detail(token, told))


def refused(token: str | bytes, policy: Policy, refusal: TokenRefused) -> Event:
    """Return that a token was not taken, and which check it failed; the issuer is the one it should have had."""
    return Event("jwt.refused", policy.issuer, "refused", refusal.reason, _detail(token, {}))


def _detail(token: object, told: dict[str, Any]) -> dict[str, str]:
    text = token.decode("utf-8", "replace") if isinstance(token, bytes) else token
    detail = {name: str(value) for name, value in told.items() if value}
    if isinstance(text, str) and len(text) <= TOKEN_LIMIT:  # what is longer was refused for it, and is not hashed
        detail["fingerprint"] = Secret(text).fingerprint()
    return detail


def _members(part: str) -> dict[str, Any] | None:
    try:
        read = msgspec.json.decode(a2b_base64(part.replace("-", "+").replace("_", "/") + "=="))
    except (ValueError, msgspec.DecodeError):
        return None
    return read if isinstance(read, dict) else None
