"""Keys and a forger: tokens of any shape, signed for real, written without any of our own code.

What may not be here: imports of valetkey beyond its keys. Tokens are made with `json`, `base64` and cryptography.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from valetkey.jose import Key, KeySet, Policy

NOW = 1_790_000_000
ISSUER = "https://auth.example"
AUDIENCE = "https://api.example"
SECRET = bytes(range(100, 164))


def b64(data: bytes | str | object) -> str:
    """Encode bytes; text as UTF-8; anything else as compact JSON."""
    if not isinstance(data, (bytes, str)):
        data = json.dumps(data, separators=(",", ":"))
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Forge:
    """Make tokens. `secret`, `rsa`, `ec`, `ed` are cryptography's; `keys` are ours for the same."""

    now = NOW
    issuer = ISSUER
    audience = AUDIENCE
    secret = SECRET

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ec384 = ec.generate_private_key(ec.SECP384R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.ed448 = ed448.Ed448PrivateKey.generate()
        self.hs = Key.secret(SECRET, alg="HS256", kid="hs")
        self.rs = Key.from_pem(self.public_pem(self.rsa), alg="RS256", kid="rs")
        self.es = Key.from_pem(self.public_pem(self.ec), kid="es")
        self.eddsa = Key.from_pem(self.public_pem(self.ed), kid="ed")

    def public_pem(self, private) -> bytes:
        return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def public_der(self, private) -> bytes:
        return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def private_pem(self, private) -> bytes:
        return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def payload(self, **claims) -> dict:
        """Return good claims, changed; a claim given as ... is left out."""
        body = {
            "iss": ISSUER,
            "sub": "ci",
            "aud": AUDIENCE,
            "exp": NOW + 600,
            "iat": NOW - 60,
            "jti": "j1",
            "scope": "read write",
            **claims,
        }
        return {name: value for name, value in body.items() if value is not ...}

    def mac(self, message: str, secret: bytes = SECRET, name: str = "sha256") -> bytes:
        return hmac.new(secret, message.encode(), getattr(hashlib, name)).digest()

    def hs256(self, payload=None, header=None, *, secret: bytes = SECRET) -> str:
        """Return an HS256 token with any header and payload: text and bytes as they are, other things as JSON."""
        header = {"alg": "HS256"} if header is None else header
        message = f"{b64(header)}.{b64(self.payload() if payload is None else payload)}"
        return f"{message}.{b64(self.mac(message, secret))}"

    def rs256(self, payload=None, header=None, *, key=None, pad=None) -> str:
        message = f"{b64(header or {'alg': 'RS256'})}.{b64(payload or self.payload())}"
        signature = (key or self.rsa).sign(message.encode(), pad or padding.PKCS1v15(), hashes.SHA256())
        return f"{message}.{b64(signature)}"

    def es256(self, payload=None, header=None, *, key=None, der=False, digest=None) -> str:
        message = f"{b64(header or {'alg': 'ES256'})}.{b64(payload or self.payload())}"
        key = key or self.ec
        signature = key.sign(message.encode(), ec.ECDSA(digest or hashes.SHA256()))
        if not der:
            size = (key.key_size + 7) // 8
            r, s = decode_dss_signature(signature)
            signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
        return f"{message}.{b64(signature)}"

    def eddsa_token(self, payload=None, header=None, *, key=None) -> str:
        message = f"{b64(header or {'alg': 'EdDSA'})}.{b64(payload or self.payload())}"
        return f"{message}.{b64((key or self.ed).sign(message.encode()))}"

    def policy(self, **changes) -> Policy:
        return Policy(**{"issuer": ISSUER, "audience": AUDIENCE, **changes})

    def keyset(self, *keys) -> KeySet:
        return KeySet(keys or [self.hs])


@pytest.fixture(scope="session")
def forge() -> Forge:
    return Forge()
