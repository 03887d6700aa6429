"""Tokens signed and verified, as events: whom they speak of, and their fingerprints.

Of a token that was refused only its fingerprint is told, because what it says may be a lie. What may not be here:
signing, verifying, and whole tokens in what is told.
"""

from __future__ import annotations

import time
from binascii import a2b_base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from valetkey.audit.who import WHO
from valetkey.effects import Event
from valetkey.errors import InvalidInput, TokenRefused
from valetkey.jose.claims import Claims
from valetkey.jose.policy import Policy
from valetkey.jose.signing import TOKEN_LIMIT
from valetkey.values import Secret

if TYPE_CHECKING:
    from valetkey.audit.recorder import Recorder

HELD_SECONDS: Final = 1.0
"""How long what counts a token is held on to: shorter than the log waits before it writes a count down."""

HELD_MOST: Final = 4096


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


class Verdicts:
    """Tell a log of verdicts. A token that comes with every request is not looked at each time, only counted."""

    def __init__(self, audit: Recorder) -> None:
        self._audit = audit
        self._held: dict[object, tuple[float, Callable[[], object]]] = {}

    def verified(self, token: str | bytes, claims: Claims) -> None:
        """Tell that a token was taken."""
        held = self._held.get(token)
        if held is not None and time.monotonic() < held[0] and WHO.get() is None:
            held[1]()
            return
        use = self._audit.count(verified(token, claims))
        if WHO.get() is None:  # else it is told on behalf of somebody, and not counted with what is nobody's
            if len(self._held) >= HELD_MOST:
                self._held.clear()
            self._held[token] = (time.monotonic() + HELD_SECONDS, use)

    def refused(self, token: str | bytes, policy: Policy, refusal: TokenRefused) -> None:
        """Tell that a token was not taken, and why."""
        self._audit.count(refused(token, policy, refusal))


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
