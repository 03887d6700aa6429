"""The front door to jose/: the same words, with this machine's clock and random token ids.

What may not be here: rules of its own. Whatever is decided is decided in jose/.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from valetkey import jose
from valetkey.jose import Claims, Explanation, Key, KeySet, Policy
from valetkey.jose.signing import LIFETIME

__all__ = ["Claims", "Explanation", "Key", "KeySet", "Policy", "explain", "sign", "verify"]


def sign(  # noqa: PLR0913  # one keyword for each claim of RFC 7519 and RFC 9068, none positional
    key: Key,
    *,
    issuer: str | None = None,
    subject: str | None = None,
    audience: str | Iterable[str] | None = None,
    scope: str | Iterable[str] | None = None,
    lifetime: timedelta = LIFETIME,
    typ: str = "JWT",
    claims: Mapping[str, Any] | None = None,
    allow_long_lifetime: bool = False,
) -> str:
    """Return a signed JWT, issued now, with a random `jti` of 128 bits.

    Lives 15 minutes unless told otherwise, and 60 at most without `allow_long_lifetime`.
    Raises InvalidInput for what cannot be meant, KeyRefused if the key cannot sign.
    """
    return jose.sign(
        key,
        now=time.time(),
        jti=secrets.token_urlsafe(16),
        issuer=issuer,
        subject=subject,
        audience=audience,
        scope=scope,
        lifetime=lifetime,
        typ=typ,
        claims=claims,
        allow_long_lifetime=allow_long_lifetime,
    )


def verify(token: str | bytes, keys: KeySet | Key, policy: Policy) -> Claims:
    """Return the claims of a token that is genuine and meets the policy now; raises TokenRefused."""
    return jose.verify(token, keys, policy, now=time.time())


def explain(token: str | bytes, policy: Policy | None = None, keys: KeySet | Key | None = None) -> Explanation:
    """Return every check of a token with pass or fail, as of now; for people, not for letting somebody in."""
    return jose.explain(token, policy, keys, now=time.time())
