"""Key: key material for exactly one algorithm.

Material is never shown: not by `repr`, not in an error, not by pickle. `to_jwk` and `to_pem` give the public half
unless told otherwise in so many words.
What may not be here: tokens, key sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn, Self

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from valetkey.jose import jwk as jwks
from valetkey.jose import weak
from valetkey.jose.algorithms import (
    NAMES,
    Algorithm,
    Checker,
    Material,
    PrivateKey,
    PublicKey,
    Signer,
    kind_of,
    only_row,
    rows,
)
from valetkey.jose.reasons import key_refused, shown
from valetkey.jose.wire import encode

KID_LIMIT: Final = 256
"""Longest `kid`, in characters; a thumbprint has 43, and a kid is only ever looked up."""


class Key:
    """Be a key for one algorithm. Made by `secret`, `from_pem`, `from_jwk` or `generate`; read-only.

    `alg` is the JWS name of its algorithm, `kid` its name in headers: the one given, else the RFC 7638 thumbprint.
    """

    __slots__ = ("_material", "alg", "algorithm", "checker", "kid", "memo", "named", "signer")

    _material: Material
    alg: str
    algorithm: Algorithm
    checker: Checker
    kid: str
    memo: dict[Any, Any]
    named: bool
    signer: Signer

    def __init__(self, material: Material, algorithm: Algorithm, kid: str | None = None) -> None:
        set_once = super().__setattr__
        set_once("_material", material)
        set_once("memo", {})  # what is derived from the key once: encoded headers, the set of it alone
        set_once("algorithm", algorithm)
        set_once("alg", algorithm.name)
        set_once("named", kid is not None)
        set_once("kid", _checked_kid(kid) if kid is not None else jwks.thumbprint(material))
        set_once("checker", algorithm.checker(jwks.public_half(material)))
        set_once("signer", algorithm.signer(material) if jwks.is_private(material) else _cannot_sign)

    @classmethod
    def secret(cls, secret: bytes | str, *, alg: str = "HS256", kid: str | None = None) -> Self:
        """Take a shared secret for HS256, HS384 or HS512 (RFC 7518 section 3.2).

        Raises KeyRefused: key_too_weak if it is shorter than the hash; key_not_symmetric if it parses as PEM, DER,
        JWK, an SSH key, a certificate, or the bare base64 of one.
        """
        material = _as_bytes(secret, "a secret")
        return cls(material, _algorithm(material, alg), kid)

    @classmethod
    def from_pem(
        cls, pem: bytes | str, *, alg: str | None = None, kid: str | None = None, password: bytes | str | None = None
    ) -> Self:
        """Read a private or public key in PEM. `alg` may be left out where the curve leaves no choice.

        Raises KeyRefused: key_invalid, key_too_weak, key_alg_mismatch.
        """
        data = _as_bytes(pem, "a PEM block")
        if isinstance(password, str):
            password = password.encode()
        material = _read_pem(data, password)
        return cls(material, _algorithm(material, alg), kid)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], *, alg: str | None = None, kid: str | None = None) -> Self:
        """Read a JWK (RFC 7517). Its `alg` counts; `alg=` is for one that names none, and must not contradict it.

        Raises KeyRefused: key_invalid, key_too_weak, key_not_symmetric, key_alg_mismatch, key_use_mismatch.
        """
        if not isinstance(jwk, Mapping):
            raise key_refused("key_invalid", "the JWK is not a JSON object")
        _check_use(jwk)
        stated, name = jwk.get("alg"), jwk.get("kid")
        if stated is not None and (not isinstance(stated, str) or alg not in {None, stated}):
            raise key_refused("key_alg_mismatch", f"the JWK is for {shown(stated)}, not for {shown(alg)}")
        if name is not None and not isinstance(name, str):
            raise key_refused("key_invalid", "the JWK's kid is not a string")
        if (stated or alg) is not None and (stated or alg) not in NAMES:
            raise key_refused("key_alg_mismatch", f"{shown(stated or alg)} is not a signature algorithm")
        material = jwks.read(jwk)
        return cls(material, _algorithm(material, stated or alg), kid if kid is not None else name)

    @classmethod
    def generate(cls, alg: str = "ES256", *, kid: str | None = None) -> Self:
        """Make a new private key or secret: RSA of 2048 bits, a secret as long as the hash."""
        if alg not in NAMES:
            raise key_refused("key_alg_mismatch", f"{shown(alg)} is not a signature algorithm")
        row = rows(alg)[0]
        return cls(row.generate(), row, kid)

    def public(self) -> Key:
        """Return the public half, under the same name; raises KeyRefused key_not_public for a secret."""
        if isinstance(self._material, bytes):
            raise key_refused("key_not_public", f"an {self.alg} secret has no public half")
        return Key(jwks.public_half(self._material), self.algorithm, self.kid if self.named else None)

    @property
    def label(self) -> str:
        """Return the kid as it may be shown: not the thumbprint of a secret, by which the secret could be guessed."""
        return self.kid if self.named or not self.is_secret else "unnamed"

    @property
    def is_private(self) -> bool:
        """Say whether the key can sign."""
        return jwks.is_private(self._material)

    @property
    def is_secret(self) -> bool:
        """Say whether the key is a shared secret."""
        return isinstance(self._material, bytes)

    def thumbprint(self) -> str:
        """Return the RFC 7638 thumbprint (SHA-256, base64url): the same for both halves of a key."""
        return jwks.thumbprint(self._material)

    def to_jwk(self, *, private: bool = False) -> dict[str, str]:
        """Return the public half as a JWK with alg, kid and use; with `private=True` the key itself."""
        if self.is_secret and not private:
            raise key_refused("key_not_public", f"an {self.alg} secret has no public half", fix="say private=True")
        if private and not self.is_private:
            raise key_refused("key_not_private", "this is only the public half of a key")
        return {**jwks.write(self._material, private=private), "alg": self.alg, "kid": self.kid, "use": "sig"}

    def to_pem(self, *, private: bool = False, password: bytes | str | None = None) -> bytes:
        """Return the public half as SubjectPublicKeyInfo PEM; with `private=True` the key as PKCS #8.

        Raises KeyRefused for a shared secret (PEM has no form for it), or if there is no private half.
        """
        material = self._material
        if isinstance(material, bytes):
            raise key_refused("key_not_public", "a shared secret has no PEM form", fix="use to_jwk(private=True)")
        if not private:
            half: Any = jwks.public_half(material)
            pem: bytes = half.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            return pem
        if not isinstance(material, PrivateKey):
            raise key_refused("key_not_private", "this is only the public half of a key")
        secret = password.encode() if isinstance(password, str) else password
        seal = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
        return material.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, seal)

    def head(self, typ: str, *, thumbprint: bool = True) -> bytes:
        """Return the encoded header for tokens of this type, with the dot that follows it.

        A `kid` that is only the key's thumbprint is left out with `thumbprint=False`.
        """
        place = typ if thumbprint else f"{typ}\0"
        found: bytes | None = self.memo.get(place)
        if found is None:
            # The thumbprint of a shared secret is a hash to guess the secret by (RFC 7638 section 7): it never travels.
            named = {"kid": self.kid} if self.named or (thumbprint and not self.is_secret) else {}
            members = {"alg": self.alg, **({"typ": typ} if typ else {}), **named}
            found = self.memo[place] = encode(msgspec.json.encode(members)) + b"."
        return found

    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = "a Key is read-only"
        raise AttributeError(message)

    __delattr__ = __setattr__  # type: ignore[assignment]  # both refuse, whatever their arguments

    def __repr__(self) -> str:
        half = "secret" if self.is_secret else "private" if self.is_private else "public"
        return f"<Key {self.alg} {half} kid={shown(self.label)!r}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        message = "a Key is not pickled: the bytes would hold it in the clear; use to_jwk or to_pem"
        raise TypeError(message)


def _cannot_sign(_message: bytes) -> NoReturn:
    raise key_refused("key_not_private", "this is only the public half of a key")


def _as_bytes(given: object, what: str) -> bytes:
    """Return text or bytes as bytes. Nothing else: `bytes(40)` would be a secret of forty zeros."""
    if isinstance(given, str):
        return given.encode("utf-8", "surrogatepass")
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    raise key_refused("key_invalid", f"{what} is bytes or text, not {type(given).__name__}")


def _checked_kid(kid: object) -> str:
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_LIMIT or not kid.isprintable():
        raise key_refused("key_invalid", f"a kid is 1 to {KID_LIMIT} printable characters")
    return kid


def _algorithm(material: Material, alg: str | None) -> Algorithm:
    """Return the row that this material is for, once the material is found strong enough for it."""
    kty, crv = kind_of(material)
    row = only_row(kty, crv) if alg is None else next((row for row in rows(alg) if row.fits(material)), None)
    what = f"{kty} {crv}".strip()
    if row is None and alg is None:
        raise key_refused("key_alg_mismatch", f"which algorithm is this {what} key for?", fix="say so as alg=…")
    if row is None:
        raise key_refused("key_alg_mismatch", f"{shown(alg)} is not an algorithm for {what} keys")
    if isinstance(material, bytes):
        weak.check_secret(material, row.size)
    half = jwks.public_half(material)
    if isinstance(half, rsa.RSAPublicKey):
        weak.check_rsa(half.public_numbers())
    return row


def _check_use(jwk: Mapping[str, Any]) -> None:
    """Refuse a JWK that is not for signatures (RFC 7517 sections 4.2 and 4.3)."""
    use, operations = jwk.get("use", "sig"), jwk.get("key_ops", ("verify",))
    if use != "sig":
        raise key_refused("key_use_mismatch", f"the JWK's use is {shown(use)}, not sig")
    if not isinstance(operations, (list, tuple)) or not {"verify", "sign"} & {str(name) for name in operations}:
        raise key_refused("key_use_mismatch", "the JWK's key_ops do not allow signatures")


def _read_pem(data: bytes, password: bytes | None) -> Material:
    if b"CERTIFICATE" in data:
        raise key_refused(
            "key_invalid", "this is a certificate, not a key", fix="extract it: openssl x509 -pubkey -noout -in FILE"
        )
    private = b"PRIVATE KEY" in data
    try:
        found = (
            serialization.load_pem_private_key(data, password) if private else serialization.load_pem_public_key(data)
        )
    except TypeError:
        need = "needs a password" if password is None else "is not encrypted; leave out the password"
        raise key_refused("key_invalid", f"the PEM key {need}") from None
    except (ValueError, UnsupportedAlgorithm):
        cause = "the password is wrong, or the file is damaged" if password else "it is damaged or of an unknown kind"
        raise key_refused("key_invalid", "the PEM block cannot be read", cause=cause) from None
    if not isinstance(found, (PrivateKey, PublicKey)):
        raise key_refused("key_invalid", f"a {type(found).__name__} is not for signatures")
    return found
