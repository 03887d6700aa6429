"""Signing keys from files and into files: JWK, JWK Set, PEM, or the bytes of a shared secret.

What may not be here: deciding what a key is good for (jose/ does).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from valetkey.cli.ask import file_bytes, file_text
from valetkey.errors import AlreadyExists, InvalidInput
from valetkey.values import shown_path

if TYPE_CHECKING:
    from valetkey.jose import Key, KeySet


def read_keys(paths: Iterable[str], secret_file: str | None = None, alg: str = "", *, secret_ref: str = "") -> KeySet:
    """Read the keys of all files as one set; raises InvalidInput, KeyRefused, and what a secret manager says."""
    from valetkey.jose import KeySet

    found = [key for path in paths for key in _keys_in(path, alg)]
    if secret_file is not None:
        found.append(_secret(secret_file, alg))
    if secret_ref:
        found.append(_kept_elsewhere(secret_ref, alg))
    if not found:
        fix = "--key FILE (JWK, JWK Set or PEM), --secret-file FILE, or --secret-ref REF"
        raise InvalidInput("no key was given", fix=fix)
    return KeySet(found)


def read_key(path: str | None, secret_file: str | None = None, alg: str = "", *, secret_ref: str = "") -> Key:
    """Read the one key of a file; raises InvalidInput, KeyRefused, and what a secret manager says."""
    keys = list(read_keys([] if path is None else [path], secret_file, alg, secret_ref=secret_ref))
    if len(keys) > 1:
        raise InvalidInput("several keys were given", fix="give the file of one key")
    return keys[0]


def _keys_in(path: str, alg: str) -> list[Key]:
    from valetkey.jose import Key, KeySet

    text = file_text(path, "key")
    if not text.lstrip().startswith("{"):
        return [Key.from_pem(text, alg=alg or None)]
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise InvalidInput(f"{path} is no JSON", fix="give a JWK, a JWK Set or a PEM file") from None
    if "keys" in document:
        return list(KeySet.from_jwks(document, alg=alg or None, allow_shared_kid=True))
    return [Key.from_jwk(document, alg=None if "alg" in document else alg or None)]


def _secret(path: str, alg: str) -> Key:
    from valetkey.jose import Key

    # Editors and `echo` end a file with a line break that nobody means to be part of the secret.
    return Key.secret(file_bytes(path, "secret").removesuffix(b"\n").removesuffix(b"\r"), alg=alg or "HS256")


def _kept_elsewhere(reference: str, alg: str) -> Key:
    """Read a shared secret, or a private key in PEM, from where it is kept."""
    from contextlib import closing

    from valetkey.jose import Key
    from valetkey.managers.resolver import Resolver

    with closing(Resolver()) as resolver:
        text = resolver.resolve(reference).secret.reveal()
    if text.lstrip().startswith("-----BEGIN "):
        return Key.from_pem(text, alg=alg or None)
    return Key.secret(text.encode(), alg=alg or "HS256")


def written(key: Key, form: str, *, private: bool) -> bytes:
    """Return a key as a file holds it: `jwk`, `jwks` or `pem`. Raises KeyRefused where there is no such form."""
    if form == "pem":
        return key.to_pem(private=private)
    jwk = key.to_jwk(private=private)
    return msgspec.json.format(msgspec.json.encode({"keys": [jwk]} if form == "jwks" else jwk), indent=2) + b"\n"


def keep(path: str, data: bytes) -> None:
    """Write a new file that only its owner can read; raises AlreadyExists, InvalidInput."""
    from valetkey.vault.private import expanded

    place = expanded(path)
    try:
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise AlreadyExists(
            f"{shown_path(path)} is there already", fix="choose another name; a key is never overwritten"
        ) from None
    except OSError as refusal:
        reason = refusal.strerror or type(refusal).__name__
        raise InvalidInput(
            f"{shown_path(path)} cannot be written: {reason}", fix="check the folder and its permissions"
        ) from None
    with os.fdopen(file, "wb") as out:
        out.write(data)
