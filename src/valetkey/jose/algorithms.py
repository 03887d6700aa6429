"""The table of algorithms: one row each, and nothing below this file that lists them again (RFC 7518, 8037, 9864).

A row says which keys fit and how to make the two functions a key needs: `signer(key)` gives a function from the
signing input to the signature's bytes; `checker(key)` gives one that takes the signing input and the signature's bytes,
and raises BadSignature unless they belong together.
`none`, RSA1_5 and password-based algorithms have no row and so do not exist.
What may not be here: tokens, JSON, files.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hmac import HMAC

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
Material: TypeAlias = bytes | PrivateKey | PublicKey
Signer: TypeAlias = Callable[[bytes], bytes]
Checker: TypeAlias = Callable[[bytes, bytes], None]

RSA_BITS: Final = 2048
"""Size of a generated RSA key; also the least that is accepted (RFC 7518 section 3.3)."""


class BadSignature(Exception):
    """Say inside this room that a signature does not belong; the verifier makes the refusal of it."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Be one row. `accepts` are the names a header may use for it; RFC 9864 gave Ed25519 a second one.

    `size` is the least length of a secret in bytes, or the length of one ECDSA number.
    """

    name: str
    kty: str
    crv: str
    size: int
    accepts: frozenset[str]
    generate: Callable[[], Any] = field(repr=False)
    signer: Callable[[Any], Signer] = field(repr=False)
    checker: Callable[[Any], Checker] = field(repr=False)

    def fits(self, material: Material) -> bool:
        """Say whether key material is of this row's type and curve."""
        return kind_of(material) == (self.kty, self.crv)


def kind_of(material: Material) -> tuple[str, str]:
    """Return the JWK `kty` and `crv` of key material (RFC 7518 section 6, RFC 8037 section 2)."""
    match material:
        case bytes():
            return "oct", ""
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
            return "RSA", ""
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            return "EC", JWK_CURVES.get(material.curve.name, material.curve.name)
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            return "OKP", "Ed25519"
        case _:
            return "OKP", "Ed448"


JWK_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
CURVES: Final[dict[str, ec.EllipticCurve]] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


# ── HMAC (RFC 7518 section 3.2) ───────────────────────────────────────────────────────────────────────────────


_HASHES: Final[dict[int, hashes.HashAlgorithm]] = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}


def _hmac(chosen: hashes.HashAlgorithm) -> Callable[[bytes], Signer]:
    """Return a maker of MAC functions that set a key up once, and copy it: three times as fast as `hmac.digest`."""

    def maker(secret: bytes) -> Signer:
        begun = HMAC(secret, chosen).copy

        def mac(message: bytes) -> bytes:
            one = begun()
            one.update(message)
            return one.finalize()

        return mac

    return maker


def _hmac_row(bits: int) -> Algorithm:
    size = bits // 8
    signer = _hmac(_HASHES[bits])

    def checker(secret: bytes) -> Checker:
        mac = signer(secret)

        def check(message: bytes, signature: bytes) -> None:
            if not hmac.compare_digest(mac(message), signature):
                raise BadSignature

        return check

    name = f"HS{bits}"
    return Algorithm(name, "oct", "", size, frozenset({name}), lambda: secrets.token_bytes(size), signer, checker)


# ── RSA (RFC 7518 sections 3.3 and 3.5) ───────────────────────────────────────────────────────────────────────


def _rsa_row(name: str, pad: padding.AsymmetricPadding, chosen: hashes.HashAlgorithm) -> Algorithm:
    def signer(private: rsa.RSAPrivateKey) -> Signer:
        return lambda message: private.sign(message, pad, chosen)

    def checker(public: rsa.RSAPublicKey) -> Checker:
        verify = public.verify

        def check(message: bytes, signature: bytes) -> None:
            try:
                verify(signature, message, pad, chosen)
            except InvalidSignature:
                raise BadSignature from None

        return _quick_pkcs1(public, name, check) if name in _DIGEST_INFO else check

    def generate() -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, RSA_BITS)

    return Algorithm(name, "RSA", "", RSA_BITS, frozenset({name}), generate, signer, checker)


def _begun(name: str) -> Callable[[], hashlib._Hash]:
    """Return what gives a hash to go on with: a copy is there sooner than a new one, which OpenSSL looks up by name."""
    return hashlib.new(name).copy


_DIGEST_INFO: Final = {
    "RS256": ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
    "RS384": ("sha384", bytes.fromhex("3041300d060960864801650304020205000430")),
    "RS512": ("sha512", bytes.fromhex("3051300d060960864801650304020305000440")),
}
"""What stands before the hash in an encoded message (RFC 8017 section 9.2, note 1)."""


def _quick_pkcs1(public: rsa.RSAPublicKey, name: str, check: Checker) -> Checker:
    """Return a check that first compares the whole encoded message, as RFC 8017 section 8.2.2 does it.

    OpenSSL takes the padding off, and what is left must be exactly the one encoding of the hash. That takes 6 % less
    time than `verify`, which sets up a digest each time. It only ever accepts: what differs, `check` decides.
    """
    recover, plain = public.recover_data_from_signature, padding.PKCS1v15()
    digest, prefix = _DIGEST_INFO[name]
    begun = _begun(digest)
    octets = (public.key_size + 7) // 8

    def quick(message: bytes, signature: bytes) -> None:
        one = begun()
        one.update(message)
        try:
            # RFC 8017 section 8.2.2 step 1: OpenSSL would also take one without the zeros it begins with.
            if len(signature) == octets and recover(signature, plain, None) == prefix + one.digest():
                return
        except (InvalidSignature, ValueError, UnsupportedAlgorithm):
            pass
        check(message, signature)

    return quick


def _pss(chosen: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(chosen), salt_length=chosen.digest_size)


# ── ECDSA (RFC 7518 section 3.4) ──────────────────────────────────────────────────────────────────────────────


def _ecdsa_row(name: str, crv: str, chosen: hashes.HashAlgorithm) -> Algorithm:
    curve = CURVES[crv]
    size = (curve.key_size + 7) // 8
    scheme, begun = ec.ECDSA(Prehashed(chosen)), _begun(chosen.name)

    def signer(private: ec.EllipticCurvePrivateKey) -> Signer:
        def sign(message: bytes) -> bytes:
            one = begun()
            one.update(message)
            # SEQUENCE of two INTEGERs, made by OpenSSL a moment ago; long only for P-521.
            der = private.sign(one.digest(), scheme)
            at = 4 if der[1] < 0x80 else 5
            end = at + der[at - 1]
            if end - at >= size <= len(der) - end - 2:
                return der[end - size : end] + der[-size:]
            return der[at:end][-size:].rjust(size, b"\0") + der[end + 2 :][-size:].rjust(size, b"\0")

        return sign

    def checker(public: ec.EllipticCurvePublicKey) -> Checker:
        verify = public.verify

        def check(message: bytes, signature: bytes) -> None:
            if len(signature) != 2 * size:
                raise BadSignature
            one = begun()
            one.update(message)
            pair = encode_dss_signature(
                int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
            )
            try:
                verify(pair, one.digest(), scheme)
            except InvalidSignature:
                raise BadSignature from None

        return check

    return Algorithm(name, "EC", crv, size, frozenset({name}), lambda: ec.generate_private_key(curve), signer, checker)


# ── EdDSA (RFC 8037 section 3.1, RFC 9864) ────────────────────────────────────────────────────────────────────


def _eddsa_row(
    name: str, crv: str, generate: Callable[[], ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey]
) -> Algorithm:
    def signer(private: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) -> Signer:
        return private.sign

    def checker(public: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) -> Checker:
        verify = public.verify

        def check(message: bytes, signature: bytes) -> None:
            try:
                verify(signature, message)
            except InvalidSignature:
                raise BadSignature from None

        return check

    return Algorithm(name, "OKP", crv, 0, frozenset({"EdDSA", crv}), generate, signer, checker)


TABLE: Final = (
    _hmac_row(256),
    _hmac_row(384),
    _hmac_row(512),
    _rsa_row("RS256", padding.PKCS1v15(), hashes.SHA256()),
    _rsa_row("RS384", padding.PKCS1v15(), hashes.SHA384()),
    _rsa_row("RS512", padding.PKCS1v15(), hashes.SHA512()),
    _rsa_row("PS256", _pss(hashes.SHA256()), hashes.SHA256()),
    _rsa_row("PS384", _pss(hashes.SHA384()), hashes.SHA384()),
    _rsa_row("PS512", _pss(hashes.SHA512()), hashes.SHA512()),
    _ecdsa_row("ES256", "P-256", hashes.SHA256()),
    _ecdsa_row("ES384", "P-384", hashes.SHA384()),
    _ecdsa_row("ES512", "P-521", hashes.SHA512()),
    _eddsa_row("EdDSA", "Ed25519", ed25519.Ed25519PrivateKey.generate),
    _eddsa_row("EdDSA", "Ed448", ed448.Ed448PrivateKey.generate),
    _eddsa_row("Ed25519", "Ed25519", ed25519.Ed25519PrivateKey.generate),
    _eddsa_row("Ed448", "Ed448", ed448.Ed448PrivateKey.generate),
)

NAMES: Final = frozenset(row.name for row in TABLE)


def rows(name: str) -> tuple[Algorithm, ...]:
    """Return the rows of a name; EdDSA has two, one for each curve."""
    return tuple(row for row in TABLE if row.name == name)


def only_row(kty: str, crv: str) -> Algorithm | None:
    """Return the first row for a curve; None where the key's type leaves a choice (RSA, oct)."""
    return next((row for row in TABLE if row.crv == crv and row.kty == kty), None) if crv else None
