"""Private keys of apps from files: PEM, or the JSON file that Google gives for a service account.

What may not be here: showing a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from valetkey.cli.ask import file_text
from valetkey.errors import InvalidInput, KeyRefused
from valetkey.values import Secret


@dataclass(frozen=True, slots=True)
class AppKey:
    """Be a private key, checked, and what its file says beside it."""

    pem: Secret = field(repr=False)
    alg: str
    key_id: str = ""
    client_id: str = ""


def read_app_key(path: str, alg: str = "", key_id: str = "") -> AppKey:
    """Read a private key; raises InvalidInput, KeyRefused. RSA keys are for RS256 unless `alg` says otherwise."""
    text = file_text(path, "private key")
    client_id = ""
    if text.lstrip().startswith("{"):
        account = _service_account(text, path)
        text, client_id = account["private_key"], account["client_email"]
        key_id = key_id or account.get("private_key_id", "")
    return AppKey(Secret(text), _algorithm(text, alg), key_id, client_id)


def _service_account(text: str, path: str) -> dict[str, str]:
    try:
        members = msgspec.json.decode(text)
    except msgspec.DecodeError:
        members = None
    wanted = ("private_key", "client_email")
    if not isinstance(members, dict) or not all(isinstance(members.get(name), str) for name in wanted):
        raise InvalidInput(
            f"{path} is neither a PEM file nor the key file of a service account", fix="give the file as it was issued"
        )
    return {name: value for name, value in members.items() if isinstance(value, str)}


def _algorithm(pem: str, alg: str) -> str:
    from valetkey.jose import Key

    try:
        key = Key.from_pem(pem, alg=alg or None)
    except KeyRefused as refusal:
        if alg or refusal.reason != "key_alg_mismatch":
            raise
        key = Key.from_pem(pem, alg="RS256")  # RSA keys do not say what they are for; every provider takes RS256
    if not key.is_private:
        raise InvalidInput("the file holds a public key", fix="give the private key; the provider has the public one")
    return key.alg
