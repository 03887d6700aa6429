"""The keyring: data keys, wrapped by a key-encryption key that is kept elsewhere.

The keyring is itself a record of the store, but not sealed like the others: it is what opens them. Its box names the
vault and the key-encryption key in the clear, so that a wrong key can be told from a damaged vault before anything
is written.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

import msgspec

from valetkey.errors import VaultDamaged, VaultUnreadable, WrongKey
from valetkey.vault.seal import ID_BYTES, KEY_BYTES, Sealer

KEYRING_VERSION: Final = 1


class KeyEncryptionKey(Protocol):
    """Wrap and unwrap data keys; `key_id` tells keys apart without giving one away."""

    @property
    def key_id(self) -> str:
        """Return a fingerprint that two different keys do not share."""

    @property
    def where(self) -> str:
        """Return where the key is kept, for messages."""

    def wrap(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt, bound to `context`."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """Decrypt; None where the bytes or the context are not those that were wrapped."""


class DataKey(msgspec.Struct, frozen=True):
    """Be one data key; its bytes are never shown."""

    key_id: bytes
    key: bytes
    created_at: float

    def __repr__(self) -> str:
        return f"<DataKey {self.key_id.hex()}>"


class _Contents(msgspec.Struct, frozen=True):
    current: bytes
    keys: list[DataKey]


class _Wrapped(msgspec.Struct, frozen=True):
    version: int
    vault_id: str
    kek_id: str
    wrapped: bytes


class Keyring:
    """Hold the data keys of one vault."""

    def __init__(self, vault_id: str, contents: _Contents) -> None:
        self.vault_id = vault_id
        self._contents = contents

    @classmethod
    def create(cls, now: float) -> Keyring:
        """Draw a vault id and a first data key."""
        key = DataKey(os.urandom(ID_BYTES), os.urandom(KEY_BYTES), now)
        return cls(os.urandom(8).hex(), _Contents(key.key_id, [key]))

    def sealer(self) -> Sealer:
        """Return what seals and opens the records."""
        return Sealer({key.key_id: key.key for key in self._contents.keys}, self._contents.current)

    def wrapped(self, kek: KeyEncryptionKey) -> bytes:
        """Return the keyring as it is stored."""
        wrapped = kek.wrap(msgspec.msgpack.encode(self._contents), _context(self.vault_id))
        return msgspec.msgpack.encode(_Wrapped(KEYRING_VERSION, self.vault_id, kek.key_id, wrapped))

    @classmethod
    def unwrapped(cls, stored: bytes, kek: KeyEncryptionKey) -> Keyring:
        """Read a stored keyring; raises WrongKey, VaultDamaged or VaultUnreadable, and writes nothing."""
        try:
            outer = msgspec.msgpack.decode(stored, type=_Wrapped)
        except msgspec.MsgspecError:
            raise VaultDamaged("the keyring of this vault cannot be read") from None
        if outer.version != KEYRING_VERSION:
            raise VaultUnreadable("this vault was written by a later valetkey", fix="use the newest valetkey")
        if outer.kek_id != kek.key_id:
            raise WrongKey(
                f"the key in {kek.where} is not the key of this vault",
                cause=f"this vault ({outer.vault_id}) was made with key {outer.kek_id}; the key given is {kek.key_id}",
                fix="give the key file that was created beside this vault, or restore it from a backup; "
                "nothing was changed",
            )
        plain = kek.unwrap(outer.wrapped, _context(outer.vault_id))
        if plain is None:
            raise VaultDamaged(f"the key in {kek.where} is the right one, but the keyring does not open")
        return cls(outer.vault_id, msgspec.msgpack.decode(plain, type=_Contents))

    def __repr__(self) -> str:
        return f"<Keyring of vault {self.vault_id}, {len(self._contents.keys)} keys>"


def _context(vault_id: str) -> bytes:
    return b"valetkey keyring\0" + vault_id.encode()
