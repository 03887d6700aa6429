"""Read what issuers publish: metadata (OpenID Connect Discovery, RFC 8414), key sets, and how long they keep.

What may not be here: when to fetch (remote.py), keys themselves (keyset.py).
"""

from __future__ import annotations

from typing import Any

import msgspec

from valetkey.jose.reasons import refused, shown
from valetkey.values import Response


def discovery_url(issuer: str) -> str:
    """Return where an issuer's metadata is (OpenID Connect Discovery 1.0 section 4.1)."""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def read_metadata(body: bytes, issuer: str) -> str:
    """Return `jwks_uri` of metadata that names this very issuer; raises TokenRefused."""
    metadata = _object(body, "metadata")
    # RFC 8414 section 3.3: "MUST be identical"; nothing is normalised.
    if metadata.get("issuer") != issuer:
        raise refused(
            "issuer_mismatch",
            "the metadata is of another issuer",
            claim="issuer",
            expected=issuer,
            got=metadata.get("issuer"),
        )
    url = metadata.get("jwks_uri")
    if not isinstance(url, str):
        raise refused("jwks_invalid", "the metadata names no jwks_uri", claim="jwks_uri")
    return url


def read_jwks(body: bytes) -> dict[str, Any]:
    """Return a key set as a document with a list of keys; raises TokenRefused jwks_invalid."""
    document = _object(body, "key set")
    if not isinstance(document.get("keys"), list):
        raise refused("jwks_invalid", "the key set has no list of keys", claim="keys")
    return document


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise refused("jwks_invalid", f"the {what} is not JSON", got=shown(body[:40].decode("latin-1"))) from None
    if not isinstance(found, dict):
        raise refused("jwks_invalid", f"the {what} is not a JSON object")
    return found


def lifetime(response: Response, otherwise: float) -> float:
    """Return for how many seconds an answer keeps (RFC 9111 sections 4.2.1 and 5.2.2); `otherwise` if it says not."""
    directives = [part.strip().lower() for part in response.header("cache-control").split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    for directive in directives:
        name, _, value = directive.partition("=")
        if name == "max-age":
            return max(0.0, _whole(value.strip('"'), int(otherwise)) - _whole(response.header("age"), 0))
    return otherwise


def _whole(text: str, otherwise: int) -> int:
    """Return a delta-seconds; more than ten digits are as good as ten (RFC 9111 section 1.2.2)."""
    return int(text[:10]) if text.isascii() and text.isdigit() else otherwise
