"""Proof Key for Code Exchange (RFC 7636), the S256 method only: "plain" protects nothing.

What may not be here: randomness. The luck comes as an argument, the rest is computed.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from typing import Final

from valetkey.errors import InvalidInput
from valetkey.values import Secret

METHOD: Final = "S256"

LUCK_SIZE: Final = 32
"""Octets. "It is RECOMMENDED that the output of a suitable random number generator be used to create a 32-octet
sequence" (RFC 7636 section 4.1); they become 43 characters."""

_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""code-verifier = 43*128unreserved (RFC 7636 section 4.1)."""


def verifier_from(luck: bytes) -> Secret:
    """Return the code verifier made of 32 to 96 random bytes; raises InvalidInput for fewer or more."""
    if not LUCK_SIZE <= len(luck) <= 96:
        raise InvalidInput("a PKCE verifier is made of 32 to 96 random bytes")
    return Secret(_base64url(luck))


def challenge(verifier: Secret) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 section 4.2); raises InvalidInput if it is not one."""
    if not _VERIFIER.fullmatch(verifier.reveal()):
        raise InvalidInput("a PKCE verifier has 43 to 128 characters out of A-Z a-z 0-9 - . _ ~")
    return _base64url(hashlib.sha256(verifier.reveal().encode("ascii")).digest())


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
