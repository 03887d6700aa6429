"""A passphrase and where it comes from: the program, a file descriptor, a systemd credential, a prompt; and argon2id.

Never an argument or the value of a variable, which other programs can read.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from valetkey.errors import InvalidInput, KeyMissing
from valetkey.values import Secret
from valetkey.vault.keks.kinds import SALT_BYTES, PassphraseKind, written
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.seal import KEY_BYTES

DESCRIPTOR_VARIABLE: Final = "VALETKEY_PASSPHRASE_FD"
CREDENTIAL: Final = "valetkey-passphrase"
MOST: Final = 4096
"""Bytes of a passphrase; more is another file given by mistake."""
LEAST: Final = 12
"""Characters of a new passphrase: argon2id slows guessing down, it does not make four letters long."""


def new_key(passphrase: Secret) -> KeyFile:
    """Make a key of a new passphrase, with a salt of its own; raises InvalidInput for a short one."""
    if len(passphrase.reveal()) < LEAST:
        raise InvalidInput(
            f"the passphrase has fewer than {LEAST} characters",
            cause="whoever gets hold of the vault can try short ones until one fits",
            fix="six random words, or 20 random letters and digits; nothing was changed",
        )
    return derived(passphrase, PassphraseKind(os.urandom(SALT_BYTES)))


def derived(passphrase: Secret, kind: PassphraseKind) -> KeyFile:
    """Make the key of a passphrase with argon2id (RFC 9106); raises VaultDamaged for parameters that are refused."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # late: loads OpenSSL

    kind.check()
    made = Argon2id(
        salt=kind.salt, length=KEY_BYTES, iterations=kind.iterations, lanes=kind.lanes, memory_cost=kind.memory
    )
    # Keyboards differ in how they compose an é; NFC makes the same text the same bytes.
    typed = unicodedata.normalize("NFC", passphrase.reveal()).encode("utf-8", "surrogatepass")
    return KeyFile(made.derive(typed), kind.shown, written(kind))


def found(environ: Mapping[str, str] | None = None) -> Secret | None:
    """Return the passphrase that the surroundings give: VALETKEY_PASSPHRASE_FD, or a systemd credential; else None.

    Raises InvalidInput where what they name cannot be read.
    """
    told = os.environ if environ is None else environ
    number = told.get(DESCRIPTOR_VARIABLE, "")
    if number:
        if not number.isascii() or not number.isdigit():
            raise InvalidInput(f"{DESCRIPTOR_VARIABLE} is no number", fix="the number of an open file descriptor")
        return from_descriptor(int(number))
    folder = told.get("CREDENTIALS_DIRECTORY", "")
    path = Path(folder, CREDENTIAL)
    if not folder or not path.exists():
        return None
    try:
        with path.open("rb") as file:
            return _read(file.read(MOST + 1), f"the credential {CREDENTIAL}")
    except OSError as refusal:
        raise InvalidInput(f"the credential {CREDENTIAL} cannot be read: {refusal.strerror}") from None


def from_descriptor(number: int) -> Secret:
    """Read a passphrase from an open file descriptor, to its end; raises InvalidInput or KeyMissing."""
    data = b""
    try:
        while len(data) <= MOST and (part := os.read(number, MOST + 1 - len(data))):
            data += part
    except OSError as refusal:
        raise InvalidInput(
            f"file descriptor {number} cannot be read: {refusal.strerror}",
            fix=f"for example: valetkey --passphrase-fd {number} … {number}< passphrase-file",
        ) from None
    return _read(data, f"file descriptor {number}")


def _read(data: bytes, where: str) -> Secret:
    if len(data) > MOST:
        raise InvalidInput(f"{where} is too large for a passphrase", fix=f"at most {MOST} bytes are read")
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidInput(f"{where} is not UTF-8 text", fix="give the passphrase as text") from None
    if not text.strip():
        raise KeyMissing(
            f"{where} holds no passphrase",
            cause="it is empty or holds nothing but blanks, or was read before",
            fix="give it anew for every start",
        )
    return Secret(text)
