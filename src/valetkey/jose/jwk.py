"""Key material as JSON and back (RFC 7517, RFC 7518 section 6, RFC 8037 section 2), and its thumbprint (RFC 7638).

What may not be here: which algorithm a key is for (see key.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from valetkey.errors import TokenRefused
from valetkey.jose.algorithms import CURVES, Material, PrivateKey, PublicKey, kind_of
from valetkey.jose.reasons import key_refused, shown
from valetkey.jose.wire import decode, encode

MEMBER_LIMIT: Final = 4096
"""Longest member of a JWK, in characters; an RSA modulus of 8192 bits has 1366."""

_REQUIRED: Final = {"oct": ("k",), "RSA": ("e", "n"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The members that make the thumbprint (RFC 7638 section 3.2, RFC 8037 section 2), beside `kty`."""

_RSA_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi")
_OKP: Final[dict[str, tuple[Any, Any]]] = {
    "Ed25519": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    "Ed448": (ed448.Ed448PrivateKey, ed448.Ed448PublicKey),
}


def read(jwk: Mapping[str, Any]) -> Material:
    """Return the material of a JWK, private if it holds `d`; raises KeyRefused key_invalid."""
    kty = jwk.get("kty")
    try:
        match kty:
            case "oct":
                return _bytes(jwk, "k")
            case "RSA":
                return _read_rsa(jwk)
            case "EC":
                return _read_ec(jwk)
            case "OKP":
                return _read_okp(jwk)
    except (ValueError, UnsupportedAlgorithm):
        raise key_refused("key_invalid", f"the members of this {kty} key do not belong together") from None
    raise key_refused("key_invalid", f"keys of type {shown(kty)} are not known")


def _read_rsa(jwk: Mapping[str, Any]) -> Material:
    public = rsa.RSAPublicNumbers(e=_number(jwk, "e"), n=_number(jwk, "n"))
    if public.e < 3 or public.n.bit_length() < 1024:  # cryptography would not even build it; weak.py says it better
        raise key_refused("key_too_weak", "the RSA key is too small, or its public exponent is not usable")
    if "d" not in jwk:
        return public.public_key()
    if "oth" in jwk:
        raise key_refused("key_invalid", "RSA keys of more than two primes are not supported")
    d = _number(jwk, "d")
    if any(name in jwk for name in _RSA_PRIVATE[1:]):
        p, q, dp, dq, qi = (_number(jwk, name) for name in _RSA_PRIVATE[1:])
    else:
        p, q = rsa.rsa_recover_prime_factors(public.n, public.e, d)
        dp, dq, qi = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key()


def _read_ec(jwk: Mapping[str, Any]) -> Material:
    crv = jwk.get("crv")
    curve = CURVES.get(crv) if isinstance(crv, str) else None
    if curve is None:
        raise key_refused("key_invalid", f"EC keys on curve {shown(crv)} are not known")
    size = (curve.key_size + 7) // 8
    x, y = (int.from_bytes(_bytes(jwk, name, size), "big") for name in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, curve)
    if "d" not in jwk:
        return public.public_key()
    return ec.EllipticCurvePrivateNumbers(int.from_bytes(_bytes(jwk, "d", size), "big"), public).private_key()


def _read_okp(jwk: Mapping[str, Any]) -> Material:
    crv = jwk.get("crv")
    classes = _OKP.get(crv) if isinstance(crv, str) else None
    if classes is None:
        raise key_refused("key_invalid", f"OKP keys on curve {shown(crv)} are not for signatures")
    private_class, public_class = classes
    x = _bytes(jwk, "x")
    if "d" not in jwk:
        public: PublicKey = public_class.from_public_bytes(x)
        return public
    private: PrivateKey = private_class.from_private_bytes(_bytes(jwk, "d"))
    if _raw(private.public_key()) != x:
        raise key_refused("key_invalid", "the public half of this OKP key is not that of its private half")
    return private


def _bytes(jwk: Mapping[str, Any], name: str, size: int = 0) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str) or len(text) > MEMBER_LIMIT or not text.isascii():
        raise key_refused("key_invalid", f"the member {name} of the JWK is missing or not base64url")
    try:
        found = decode(text.encode(), name)
    except TokenRefused:
        raise key_refused("key_invalid", f"the member {name} of the JWK is not canonical base64url") from None
    if size and len(found) != size:
        raise key_refused("key_invalid", f"the member {name} of the JWK holds {len(found)} bytes, not {size}")
    return found


def _number(jwk: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(_bytes(jwk, name), "big")


def public_half(material: Material) -> Material:
    """Return the public key of a private one; public keys and secrets are returned as they are."""
    return material if isinstance(material, (bytes, PublicKey)) else material.public_key()


def is_private(material: Material) -> bool:
    """Say whether the material can sign."""
    return isinstance(material, (bytes, PrivateKey))


def write(material: Material, *, private: bool) -> dict[str, str]:
    """Return material as a JWK; with `private`, all of it, else the public half."""
    kty, crv = kind_of(material)
    jwk = {"kty": kty, **({"crv": crv} if crv else {})}
    if isinstance(material, bytes):
        return {**jwk, "k": encode(material).decode()}
    jwk.update(_write_public(public_half(material)))
    if private:
        jwk.update(_write_private(material))
    return jwk


def _write_public(material: Material) -> dict[str, str]:
    match material:
        case rsa.RSAPublicKey():
            rsa_numbers = material.public_numbers()
            return {"n": _text(rsa_numbers.n), "e": _text(rsa_numbers.e)}
        case ec.EllipticCurvePublicKey():
            numbers, size = material.public_numbers(), (material.key_size + 7) // 8
            return {"x": _text(numbers.x, size), "y": _text(numbers.y, size)}
        case _:
            return {"x": encode(_raw(material)).decode()}


def _write_private(material: Material) -> dict[str, str]:
    match material:
        case rsa.RSAPrivateKey():
            numbers = material.private_numbers()
            values = (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
            return {name: _text(value) for name, value in zip(_RSA_PRIVATE, values, strict=True)}
        case ec.EllipticCurvePrivateKey():
            return {"d": _text(material.private_numbers().private_value, (material.key_size + 7) // 8)}
        case _:
            return {"d": encode(_raw_private(material)).decode()}


def _text(number: int, size: int = 0) -> str:
    return encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big")).decode()


def _raw(public: Any) -> bytes:
    raw: bytes = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return raw


def _raw_private(private: Any) -> bytes:
    raw: bytes = private.private_bytes_raw()
    return raw


def thumbprint(material: Material) -> str:
    """Return the SHA-256 thumbprint of a key in base64url (RFC 7638 section 3)."""
    jwk = write(material, private=False)
    members = {name: jwk[name] for name in sorted(("kty", *_REQUIRED[jwk["kty"]]))}
    return encode(hashlib.sha256(msgspec.json.encode(members)).digest()).decode()
