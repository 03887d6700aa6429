"""Keys and a forger: tokens of any shape, signed for real, written without any of our own code.

And a world for plans: one clock, and an issuer whose answers are a list.
What may not be here: our own signing or verifying. Tokens are made with `json`, `base64` and cryptography.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import deque
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from valetkey.effects import Note, Now, Send, Sleep
from valetkey.errors import ValetkeyError
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


class World:
    """Run plans in turns over one clock. `answers` is what the issuer says: a Response, an error, or a callable."""

    def __init__(self, answer=None):
        self.clock = float(NOW)
        self.answer = answer
        self.sent = []
        self.notes = []
        self.note_error = None
        self.latency = 0.0

    def run(self, *plans):
        """Interleave plans; a Send is answered after `latency` seconds of the clock. Returns results or errors."""
        results = {}
        ready = deque((number, plan, None, False) for number, plan in enumerate(plans))
        asleep = []
        while ready or asleep:
            if not ready:
                asleep.sort(key=lambda item: item[0])
                self.clock = max(self.clock, asleep[0][0])
                while asleep and asleep[0][0] <= self.clock:
                    _, item = asleep.pop(0)
                    ready.append(item)
            number, plan, answer, thrown = ready.popleft()
            try:
                question = plan.throw(answer) if thrown else plan.send(answer)
            except StopIteration as end:
                results[number] = end.value
                continue
            except ValetkeyError as error:
                results[number] = error
                continue
            match question:
                case Now():
                    ready.append((number, plan, datetime.fromtimestamp(self.clock, UTC), False))
                case Sleep(seconds):
                    asleep.append((self.clock + seconds, (number, plan, None, False)))
                case Note(event):
                    self.notes.append(event)
                    ready.append((number, plan, self.note_error, self.note_error is not None))
                case Send(request):
                    self.sent.append(request)
                    said = self.answer(request) if callable(self.answer) else self.answer
                    item = (number, plan, said, isinstance(said, Exception))
                    asleep.append((self.clock + self.latency, item))
        return [results[number] for number in range(len(plans))]

    def one(self, plan):
        result = self.run(plan)[0]
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture(scope="session")
def new_world() -> type[World]:
    return World
