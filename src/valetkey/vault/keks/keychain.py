"""A key in the keychain of the operating system: Keychain, Credential Manager, Secret Service; by the library keyring.

What may not be here: keychains that write secrets to plain files.
"""

from __future__ import annotations

import os
from typing import Any, Final

from valetkey.errors import InvalidInput, KeyMissing, StoreUnavailable
from valetkey.installing import to_add
from valetkey.vault.keks.kinds import KeychainKind, written
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.seal import KEY_BYTES

SERVICE: Final = "valetkey"

_LOCKED: Final = "unlock the keychain, or log in to the desktop; without one, use a passphrase or a key file"


def new_keychain_key(vault_id: bytes) -> KeyFile:
    """Draw a key and put it into the keychain; it was read again before this returns.

    Raises InvalidInput where there is no keychain, StoreUnavailable where it is locked.
    """
    kind = KeychainKind(SERVICE, f"{vault_id.hex()}-{os.urandom(4).hex()}")  # none is replaced
    made = KeyFile(os.urandom(KEY_BYTES), kind.shown, written(kind))
    _asked("set_password", kind, made.line())
    if fetched(kind).key_id != made.key_id:  # compared: fingerprints
        raise StoreUnavailable("the keychain does not give back what was put into it", fix="nothing was changed")
    return made


def fetched(kind: KeychainKind) -> KeyFile:
    """Read the key from the keychain; raises KeyMissing, VaultUnreadable, InvalidInput or StoreUnavailable."""
    line = _asked("get_password", kind)
    if line is None:
        raise KeyMissing(
            f"the vault is there, but its key is not in the keychain ({kind.service}, {kind.account})",
            cause="this is another user or machine than the one that made it, or the item was deleted",
            fix="open it where it was made, or with --key-file and the recovery kit",
        )
    return KeyFile(KeyFile.of_line(line, kind.shown).reveal(), kind.shown, written(kind))


def _asked(verb: str, kind: KeychainKind, *more: str) -> str | None:
    """Ask the keychain; its own errors may hold anything and are not repeated."""
    try:
        import keyring  # late: an extra, and costs to import
    except ImportError:
        raise InvalidInput(
            "the keychain needs the library keyring, which is not installed", fix=to_add("keychain")
        ) from None
    backend: Any = keyring.get_keyring()
    if backend.priority < 1:  # what keyring calls not recommended: none at all, or a plain file
        raise InvalidInput(
            "this machine has no keychain that keeps secrets", cause="none runs, or only a plain file", fix=_LOCKED
        )
    try:
        answer: str | None = getattr(backend, verb)(kind.service, kind.account, *more)
    except Exception as error:  # noqa: BLE001  # each backend raises its own
        refusal = StoreUnavailable(f"the keychain did not answer ({type(error).__name__})", fix=_LOCKED)
    else:
        return answer
    raise refusal
