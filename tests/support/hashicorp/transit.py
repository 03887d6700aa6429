"""The Transit secrets engine: keys with versions, encrypt and decrypt with context and associated data, rotate.

Written from https://developer.hashicorp.com/vault/api-docs/secret/transit; AES-256-GCM keys only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hashicorp.server import Engine, Refusal


class Transit(Engine):
    kind = "transit"

    def __init__(self):
        self.keys = {}

    def answer(self, call, path):
        verb, _, name = path.partition("/")
        if verb == "keys" and name.endswith("/rotate"):
            self._key(name.removesuffix("/rotate"))["versions"].append(os.urandom(32))
            return None
        if verb == "keys" and call.method == "GET":
            key = self._key(name, 404)
            return {
                "name": name,
                "type": "aes256-gcm96",
                "derived": key["derived"],
                "latest_version": len(key["versions"]),
            }
        if verb == "keys" and call.method in {"POST", "PUT"}:
            self.keys.setdefault(name, {"derived": bool(call.body.get("derived")), "versions": [os.urandom(32)]})
            return None
        if verb not in {"encrypt", "decrypt"} or call.method not in {"POST", "PUT"}:
            raise Refusal(404, "unsupported path")
        return (self._encrypt if verb == "encrypt" else self._decrypt)(call.body, name)

    def _key(self, name, status=400):
        if name not in self.keys:
            raise Refusal(status, *(["encryption key not found"] if status == 400 else []))
        return self.keys[name]

    def _cipher(self, key, number, body):
        raw = key["versions"][number - 1]
        if key["derived"]:
            if not body.get("context"):
                raise Refusal(400, "missing 'context' for key derivation; the key was created using a derived key")
            raw = hashlib.sha256(raw + _bytes(body, "context")).digest()
        return AESGCM(raw)

    def _encrypt(self, body, name):
        if name not in self.keys:  # who may create keys makes one by encrypting with it
            self.keys[name] = {"derived": bool(body.get("context")), "versions": [os.urandom(32)]}
        key, nonce = self.keys[name], os.urandom(12)
        number = len(key["versions"])
        sealed = self._cipher(key, number, body).encrypt(
            nonce, _bytes(body, "plaintext"), _bytes(body, "associated_data")
        )
        return {"ciphertext": f"vault:v{number}:{base64.b64encode(nonce + sealed).decode()}", "key_version": number}

    def _decrypt(self, body, name):
        key = self._key(name)
        mark, version, sealed = [*body.get("ciphertext", "").split(":"), "", "", ""][:3]
        if mark != "vault" or not 0 < int(version[1:] or 0) <= len(key["versions"]):
            raise Refusal(400, "invalid ciphertext: no prefix")
        try:
            data = base64.b64decode(sealed, validate=True)
            plain = self._cipher(key, int(version[1:]), body).decrypt(
                data[:12], data[12:], _bytes(body, "associated_data")
            )
        except (InvalidTag, ValueError):
            raise Refusal(400, "cipher: message authentication failed") from None
        return {"plaintext": base64.b64encode(plain).decode()}


def _bytes(body, name):
    try:
        return base64.b64decode(body.get(name) or "", validate=True)
    except binascii.Error:
        raise Refusal(400, f"failed to base64-decode {name}") from None
