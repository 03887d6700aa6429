"""What somebody gives to open a vault with, and how the key of a stored keyring is come by with it.

Writes nothing, so that a wrong key or passphrase is told before anything is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from valetkey.errors import KeyMissing, WrongKey
from valetkey.values import Secret
from valetkey.vault.keks import kinds, passphrase
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Head, Keyring
from valetkey.vault.places import Place

Ask: TypeAlias = Callable[[], Secret]


@dataclass
class Given:
    """Be what somebody gives: a key file, which opens any vault whose key it holds, or how to ask for a passphrase."""

    key_file: Path | None = None
    ask: Ask | None = None
    told: Secret | None = field(default=None, repr=False)

    @classmethod
    def of(cls, given: Path | Given | None) -> Given:
        """Return what was given; a path alone is a key file."""
        return given if isinstance(given, Given) else cls(given)

    def passphrase(self) -> Secret:
        """Return the passphrase, asked for once; raises KeyMissing where there is none."""
        if self.told is None:
            self.told = self.ask() if self.ask is not None else passphrase.found()
        if self.told is None:
            raise KeyMissing(
                "the passphrase of this vault is needed",
                cause="it was neither given nor found, and nobody can be asked",
                fix="--passphrase-fd N, VALETKEY_PASSPHRASE_FD, or a systemd credential named valetkey-passphrase; "
                "in a program, valetkey.open(key=valetkey.Secret(…))",
            )
        return self.told


GivenKey: TypeAlias = Path | Given | None


def kek_of(place: Place, stored: bytes, given: GivenKey) -> KeyFile:
    """Come by the key of a stored keyring; raises WrongKey, KeyMissing, VaultDamaged or VaultUnreadable."""
    given, head = Given.of(given), Head.of(stored)
    if given.key_file is not None or not head.descriptor:
        key = KeyFile.read(str(given.key_file or place.key_path(head.vault_id)))
        if not head.descriptor:
            return key  # keyring.py says what is wrong with it
        kek = KeyFile(key.reveal(), key.where, head.descriptor)
        fix = "leave --key-file out; nothing was changed"
    else:
        kind = kinds.read(head.descriptor)
        kek = _fetched(kind, head, given)
        fix = "type it again; keyboard layout and Caps Lock count. Nothing was changed"
    if kek.key_id == head.kek_id:  # compared: fingerprints, which stand in the clear
        return kek
    if given.key_file is not None:
        message = f"the key in {kek.where} is not the key of this vault, which is kept under {shown(head)}"
    elif not isinstance(kinds.read(head.descriptor), kinds.PassphraseKind):
        message, fix = f"{kek.where} gave another key than this vault's", "bring back the key that was there"
    else:
        message = "this is not the passphrase of this vault"
    cause = f"vault {head.vault_id.hex()} was sealed with key {head.kek_id.hex()}; the key given is {kek.key_id.hex()}"
    raise WrongKey(message, cause=cause, fix=fix)


def _fetched(kind: kinds.Kind, head: Head, given: Given) -> KeyFile:
    if isinstance(kind, kinds.PassphraseKind):
        return passphrase.derived(given.passphrase(), kind)
    if isinstance(kind, kinds.KeychainKind):
        from valetkey.vault.keks import keychain  # late, as below

        return keychain.fetched(kind)
    from valetkey.vault.keks.managed import opened  # late: extras, and cost to import

    return opened(kind, head.vault_id)


def keyring_of(place: Place, stored: bytes, given: GivenKey) -> Keyring:
    """Open a stored keyring with what was given; raises as `kek_of`, and VaultDamaged."""
    return Keyring.unwrapped(stored, kek_of(place, stored, given))


def shown(head: Head) -> str:
    """Return in a word how the key of a keyring is kept; raises VaultDamaged."""
    return kinds.read(head.descriptor).shown if head.descriptor else "a key file"
