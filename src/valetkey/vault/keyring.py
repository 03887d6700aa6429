"""The keyring: data keys, wrapped by a key-encryption key that is kept elsewhere.

The keyring is itself a record of the store, but not sealed like the others: it is what opens them. Its box names the
vault and the key-encryption key in the clear, so that a wrong key can be told from a damaged vault before anything
is written.

    box = version (1) | vault id (8) | id of the key-encryption key (8) | wrapped keys
    version 2, where the key is not in a file: … | id (8) | length (2) | descriptor | CRC-32 of all before (4) | wrapped
    wrapped keys, opened = id of the current key (4) | for each key: id (4), key (32), created at (8, double)

The descriptor says in the clear how to come by the key (keks/); it is bound to what is wrapped. A fixed layout, because
`valetkey token` reads it in its twentieth of a second (quick.py), which a decoder's import would eat.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Collection
from typing import Final, NamedTuple, NoReturn, Protocol, TypeVar

from valetkey.errors import VaultDamaged, VaultUnreadable, WrongKey
from valetkey.vault.seal import ID_BYTES, KEY_BYTES, Sealer

KEYRING_VERSION: Final = 1
DESCRIBED_VERSION: Final = 2
_OUTER: Final = struct.Struct(">B8s8s")
_LENGTH: Final = struct.Struct(">H")
_CHECK: Final = struct.Struct(">I")
S = TypeVar("S", bound=Sealer)

_KEY: Final = struct.Struct(f">{ID_BYTES}s{KEY_BYTES}sd")


class KeyEncryptionKey(Protocol):
    """Wrap and unwrap data keys; `key_id` tells keys apart without giving one away."""

    @property
    def key_id(self) -> bytes:
        """Return 8 bytes of fingerprint that two different keys do not share."""

    @property
    def where(self) -> str:
        """Return where the key is kept, for messages."""

    @property
    def descriptor(self) -> bytes:
        """Return how to come by the key again, for the head of the box; empty for a key in a file."""

    def wrap(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt, bound to `context`."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """Decrypt; None where the bytes or the context are not those that were wrapped."""


class Head(NamedTuple):
    """Be what a stored keyring says in the clear, what it is bound to, and the wrapped keys behind it."""

    vault_id: bytes
    kek_id: bytes
    descriptor: bytes
    context: bytes
    wrapped: bytes

    @classmethod
    def of(cls, stored: bytes) -> Head:
        """Read a stored keyring without opening it; raises VaultDamaged or VaultUnreadable."""
        if len(stored) <= _OUTER.size:
            raise VaultDamaged("the keyring of this vault is cut short")
        version, vault_id, kek_id = _OUTER.unpack_from(stored)
        if version == KEYRING_VERSION:
            return cls(vault_id, kek_id, b"", _context(vault_id), stored[_OUTER.size :])
        if version != DESCRIBED_VERSION:
            raise VaultUnreadable("this vault was written by a later valetkey", fix="use the newest valetkey")
        start = _OUTER.size + _LENGTH.size
        end = start + (_LENGTH.unpack_from(stored, _OUTER.size)[0] if len(stored) >= start else 0)
        if len(stored) <= end + _CHECK.size or _CHECK.unpack_from(stored, end)[0] != zlib.crc32(stored[:end]):
            raise VaultDamaged("the head of this vault's keyring was changed or cut")
        return cls(vault_id, kek_id, stored[start:end], _DESCRIBED + stored[:end], stored[end + _CHECK.size :])


class Keyring:
    """Hold the data keys of one vault: id, key and time of making; `current` seals what is new."""

    __slots__ = ("_keys", "current", "vault_id")

    def __init__(self, vault_id: bytes, current: bytes, keys: list[tuple[bytes, bytes, float]]) -> None:
        self.vault_id = vault_id
        self.current = current
        self._keys = keys

    @classmethod
    def create(cls, now: float) -> Keyring:
        """Draw a vault id and a first data key."""
        key_id = os.urandom(ID_BYTES)
        return cls(os.urandom(8), key_id, [(key_id, os.urandom(KEY_BYTES), now)])

    def sealer(self) -> Sealer:
        """Return what seals and opens the records."""
        return self.taught(Sealer)

    def taught(self, kind: type[S]) -> S:
        """Return a sealer of a kind of one's own, with the keys of this keyring."""
        return kind(self._secrets(), self.current)

    def teach(self, sealer: Sealer) -> None:
        """Let a sealer seal and open as this keyring does."""
        sealer.learn(self._secrets(), self.current)

    def with_new_key(self, now: float) -> Keyring:
        """Return the keyring with another data key, which is the current one from now on."""
        key_id = os.urandom(ID_BYTES)
        while key_id in self.made:
            key_id = os.urandom(ID_BYTES)
        return Keyring(self.vault_id, key_id, [*self._keys, (key_id, os.urandom(KEY_BYTES), now)])

    def without(self, retired: Collection[bytes]) -> Keyring:
        """Return the keyring without some of its keys; the current one stays."""
        kept = [key for key in self._keys if key[0] == self.current or key[0] not in retired]
        return Keyring(self.vault_id, self.current, kept)

    @property
    def made(self) -> dict[bytes, float]:
        """Return the ids of the data keys with the times at which they were made, the oldest first."""
        return {key_id: at for key_id, _, at in sorted(self._keys, key=lambda key: key[2])}

    def _secrets(self) -> dict[bytes, bytes]:
        return {key_id: key for key_id, key, _ in self._keys}

    def wrapped(self, kek: KeyEncryptionKey) -> bytes:
        """Return the keyring as it is stored."""
        head, context = _OUTER.pack(KEYRING_VERSION, self.vault_id, kek.key_id), _context(self.vault_id)
        if kek.descriptor:
            head = _OUTER.pack(DESCRIBED_VERSION, self.vault_id, kek.key_id)
            head += _LENGTH.pack(len(kek.descriptor)) + kek.descriptor
            context = _DESCRIBED + head
            head += _CHECK.pack(zlib.crc32(head))
        return head + kek.wrap(self.current + b"".join(_KEY.pack(*key) for key in self._keys), context)

    @classmethod
    def unwrapped(cls, stored: bytes, kek: KeyEncryptionKey) -> Keyring:
        """Read a stored keyring; raises WrongKey, VaultDamaged or VaultUnreadable, and writes nothing."""
        head = Head.of(stored)
        if head.kek_id != kek.key_id:
            raise WrongKey(
                f"the key in {kek.where} is not the key of this vault",
                cause=f"vault {head.vault_id.hex()} was made with key {head.kek_id.hex()}; "
                f"the key given is {kek.key_id.hex()}",
                fix="give the key file that was created beside this vault, or restore it; nothing was changed",
            )
        keyring = cls.tried(stored, kek)
        if keyring is None:
            raise VaultDamaged(f"the key in {kek.where} is the right one, but the keyring does not open")
        return keyring

    @staticmethod
    def is_described(stored: bytes) -> bool:
        """Say whether the box tells how its key is kept: it is not, or not only, in a file."""
        return stored[:1] == bytes((DESCRIBED_VERSION,))

    @staticmethod
    def vault_id_of(stored: bytes) -> bytes:
        """Return the id of the vault a stored keyring belongs to, without opening it; raises VaultDamaged."""
        if len(stored) <= _OUTER.size:
            raise VaultDamaged("the keyring of this vault is cut short")
        vault_id: bytes = _OUTER.unpack_from(stored)[1]
        return vault_id

    @classmethod
    def tried(cls, stored: bytes, kek: KeyEncryptionKey) -> Keyring | None:
        """Read a stored keyring if this key opens it, and do not ask why not."""
        try:
            head = Head.of(stored)
        except (VaultDamaged, VaultUnreadable):
            return None
        plain = kek.unwrap(head.wrapped, head.context)
        if plain is None or (len(plain) - ID_BYTES) % _KEY.size:
            return None
        return cls(head.vault_id, plain[:ID_BYTES], list(_KEY.iter_unpack(plain[ID_BYTES:])))

    def __reduce__(self) -> NoReturn:
        message = f"a {type(self).__name__} is not pickled: the bytes would hold keys in the clear"
        raise TypeError(message)

    def __repr__(self) -> str:
        return f"<Keyring of vault {self.vault_id.hex()}, {len(self._keys)} keys>"


_DESCRIBED: Final = b"valetkey keyring 2\0"


def _context(vault_id: bytes) -> bytes:
    return b"valetkey keyring\0" + vault_id
