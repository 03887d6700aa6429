"""Which keys are refused although they parse: RSA that can be factored, secrets that are really public keys.

RFC 7518 sections 3.2 and 3.3 set the sizes. ROCA is CVE-2017-15361. A secret that is somebody's public key is the
old confusion of RS256 with HS256 (CVE-2015-9235 and its many children); the test is whether it parses, not how it
begins.
What may not be here: tokens.
"""

from __future__ import annotations

import json
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from valetkey.jose.algorithms import RSA_BITS
from valetkey.jose.reasons import key_refused

RSA_MOST_BITS: Final = 8192
"""Largest RSA key: one verification takes 16 times as long as with 2048 bits; nobody issues larger ones."""

RSA_MOST_EXPONENT: Final = 2**32
"""Largest public exponent; 65537 is what everybody uses, and the cost of a verification grows with its length."""

_ROCA_PRIMES: Final = tuple(
    number for number in range(3, 168, 2) if all(number % divisor for divisor in range(3, number, 2))
)
_SSH_NAMES: Final = re.compile(rb"(?:^|[\s\0-\x20])(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-|sk-(?:ssh|ecdsa)-)", re.ASCII)


def check_rsa(numbers: rsa.RSAPublicNumbers) -> None:
    """Refuse RSA keys that are too small, too large, or known to be weak; raises KeyRefused key_too_weak."""
    bits = numbers.n.bit_length()
    if bits < RSA_BITS:
        raise key_refused("key_too_weak", f"an RSA key of {bits} bits is too small, {RSA_BITS} is the least")
    if bits > RSA_MOST_BITS:
        raise key_refused("key_invalid", f"an RSA key of {bits} bits is too large, {RSA_MOST_BITS} is the most")
    if numbers.e < 3 or numbers.e % 2 == 0 or numbers.e > RSA_MOST_EXPONENT:
        raise key_refused("key_too_weak", "the RSA key's public exponent is not usable; 65537 is the usual one")
    if is_roca(numbers.n):
        raise key_refused("key_too_weak", "the RSA key can be factored (ROCA, CVE-2017-15361)")


def is_roca(modulus: int) -> bool:
    """Say whether a modulus bears the mark of ROCA: modulo every small prime, a power of 65537.

    A sound key bears it by chance once in about 2^30.
    """
    return all(modulus % prime in _powers(prime) for prime in _ROCA_PRIMES)


@cache
def _powers(prime: int) -> frozenset[int]:
    return frozenset(pow(65537, exponent, prime) for exponent in range(prime - 1))


def check_secret(secret: bytes, size: int) -> None:
    """Refuse a secret that is shorter than the hash, or that is really a key of another kind.

    Raises KeyRefused key_too_weak or key_not_symmetric.
    """
    if len(secret) < size:
        raise key_refused(
            "key_too_weak",
            f"a secret of {len(secret)} bytes is too short, {size} bytes is the least",
            cause="RFC 7518 section 3.2 wants as many bytes as the hash has",
        )
    kind = disguise(secret)
    if kind:
        raise key_refused(
            "key_not_symmetric",
            f"this is {kind}, not a secret",
            cause="whoever knows the public key could sign with it",
        )


def disguise(secret: bytes) -> str:
    """Return what a secret really is ("a PEM block", …), or the empty string if it parses as nothing."""
    found = _as_text(secret) or _as_binary(secret)
    if found:
        return found
    bare = re.sub(rb"[\s\0\xef\xbb\xbf=]", b"", secret).translate(bytes.maketrans(b"-_", b"+/"))
    with suppress(Base64Error):
        inner = a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
        found = _as_binary(inner) or _as_text(inner)
    return f"{found} in base64" if found else ""


def _as_text(secret: bytes) -> str:
    if b"-----BEGIN" in secret or b"---- BEGIN" in secret:
        return "a PEM block"
    if _SSH_NAMES.search(secret):
        return "an SSH key"
    for encoding in ("utf-8-sig", "utf-16"):
        with suppress(ValueError, RecursionError):
            found = json.loads(secret.decode(encoding).strip("\0 \t\r\n\ufeff"))
            if isinstance(found, dict) and ("kty" in found or "keys" in found):
                return "a JWK"
            if isinstance(found, list) and any(isinstance(item, dict) and "kty" in item for item in found):
                return "a list of JWKs"
    return ""


def _der_readers() -> tuple[tuple[str, Callable[[bytes], object]], ...]:
    from cryptography import x509  # late: it takes a third of this room's start-up, and one secret in 256 needs it

    return (
        ("a public key in DER", serialization.load_der_public_key),
        ("a private key in DER", lambda data: serialization.load_der_private_key(data, None)),
        ("a certificate in DER", x509.load_der_x509_certificate),
        ("a certificate request in DER", x509.load_der_x509_csr),
    )


def _as_binary(secret: bytes) -> str:
    if secret[:3] == b"\0\0\0" and _SSH_NAMES.match(b" " + secret[4:]):
        return "an SSH key"
    if secret[:1] != b"\x30":  # every DER key is a SEQUENCE
        return ""
    for kind, read in _der_readers():
        try:
            read(secret)
        except TypeError:  # an encrypted private key asks for its password
            return kind
        except (ValueError, UnsupportedAlgorithm):
            continue
        return kind
    return ""
