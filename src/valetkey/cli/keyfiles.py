"""Private keys of apps from files: PEM, a JWK, or the JSON file that Google gives for a service account.

What may not be here: showing a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from valetkey.cli.ask import file_text
from valetkey.errors import InvalidInput, KeyRefused
from valetkey.values import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from valetkey.jose import Key


@dataclass(frozen=True, slots=True)
class AppKey:
    """Be a private key, checked, and what its file says beside it."""

    pem: Secret = field(repr=False)
    alg: str
    key_id: str = ""
    client_id: str = ""


def read_app_key(path: str, alg: str = "", key_id: str = "") -> AppKey:
    """Read a private key; raises InvalidInput, KeyRefused. RSA keys are for RS256 unless told otherwise.

    A JWK (RFC 7517) is kept as PEM; its alg and kid count where `alg` and `key_id` say nothing.
    """
    from valetkey.jose import Key

    text = file_text(path, "private key")
    client_id = ""
    if text.lstrip().startswith("{"):
        members = _members(text, path)
        if "kty" in members:
            return _of_jwk(members, alg, key_id)
        account = _service_account(members, path)
        text, client_id = account["private_key"], account["client_email"]
        key_id = key_id or account.get("private_key_id", "")
    key = _private(lambda alg: Key.from_pem(text, alg=alg), alg)
    return AppKey(Secret(text), key.alg, key_id, client_id)


def _members(text: str, path: str) -> dict[str, Any]:
    try:
        members = msgspec.json.decode(text)
    except msgspec.DecodeError:
        members = None
    if not isinstance(members, dict):
        raise _unknown(path)
    return members


def _of_jwk(members: dict[str, Any], alg: str, key_id: str) -> AppKey:
    from valetkey.jose import Key

    if members["kty"] == "oct":
        raise InvalidInput(
            "the file holds a shared secret, and no private key",
            fix="make a key pair: `valetkey key generate --out FILE`; a client secret is given by --secret-stdin",
        )
    key = _private(lambda alg: Key.from_jwk(members, alg=alg), alg or members.get("alg", ""))
    named = key.kid if "kid" in members else ""
    return AppKey(Secret(key.to_pem(private=True).decode()), key.alg, key_id or named)


def _service_account(members: dict[str, Any], path: str) -> dict[str, str]:
    if not all(isinstance(members.get(name), str) for name in ("private_key", "client_email")):
        raise _unknown(path)
    return {name: value for name, value in members.items() if isinstance(value, str)}


def _unknown(path: str) -> InvalidInput:
    return InvalidInput(
        f"{path} is neither a PEM file, nor a JWK, nor the key file of a service account",
        fix="give the file as it was issued, or one that `valetkey key generate --out FILE` made",
    )


def _private(read: Callable[[str | None], Key], alg: str) -> Key:
    try:
        key = read(alg or None)
    except KeyRefused as refusal:
        if alg or refusal.reason != "key_alg_mismatch":
            raise
        key = read("RS256")  # RSA keys do not say what they are for; every provider takes RS256
    if not key.is_private:
        raise InvalidInput("the file holds a public key", fix="give the private key; the provider has the public one")
    return key
