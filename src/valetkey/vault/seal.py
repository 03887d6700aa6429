"""Sealing: AES-256-GCM with the record's name as associated data, so that a box copied to another row does not open.

    box = format (1 byte) | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag
    associated data = format | key id | record name

What may not be here: files, stores, and where keys come from (keyring.py). The nonce is drawn here from the
operating system: it is no decision of a plan, and nothing is gained by replaying one.

Keys change while a process runs (ring.py): a sealer learns them all at once, and seals with the current one only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from valetkey.errors import VaultDamaged, VaultUnreadable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT: Final = 1
KEY_BYTES: Final = 32
ID_BYTES: Final = 4
NONCE_BYTES: Final = 12
"""96 bits, what NIST SP 800-38D section 8.2 asks of random nonces; good for 2^32 boxes of one key (section 8.3)."""

WORN_BELOW: Final = (2**32 >> 27).to_bytes(4, "big")
"""A key is worn once the first 32 bits of a nonce are below this, which one in 2^27 is: so a key is replaced after 134
million boxes on average, whoever sealed them, with nothing to count, write down or agree upon. That none was in the
2^32 boxes that NIST SP 800-38D section 8.3 allows has the probability (1 - 2^-27)^(2^32) = e^-32, about 10^-14."""

_HEAD: Final = 1 + ID_BYTES
_BODY: Final = _HEAD + NONCE_BYTES
TAG_BYTES: Final = 16


class Sealer:
    """Seal and open boxes with data keys; new boxes are made with the key `current`."""

    __slots__ = ("_ciphers", "_former", "_sealing", "current", "worn")

    def __init__(self, keys: Mapping[bytes, bytes], current: bytes) -> None:
        self._ciphers: dict[bytes, AESGCM] = {}
        self._former: dict[bytes, AESGCM] = {}
        self.current = b""
        self.worn = b""
        """The id of the key that has sealed enough; empty where none has."""
        self.learn(keys, current)

    def learn(self, keys: Mapping[bytes, bytes], current: bytes) -> None:
        """Open with these keys from now on, and seal with `current`."""
        # Late: this import is a fifth of what `valetkey token` costs, and listing commands do not need it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._former = {**self._former, **self._ciphers}
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        # One assignment, so that a thread that seals meanwhile has a head and the cipher that belongs to it.
        self._sealing = (bytes((FORMAT,)) + current, self._ciphers[current])
        self.current = current

    def knows(self, box: bytes) -> bool:
        """Say whether the key of a box is one of those held."""
        return box[1:_HEAD] in self._ciphers

    def is_current(self, box: bytes) -> bool:
        """Say whether a box was made with the current key."""
        return box[1:_HEAD] == self.current  # compared: ids of keys, which stand in the clear

    def is_outdated(self, box: bytes) -> bool:
        """Say whether a box was made with a key that is, or once was, one of those held, and is not the current one."""
        key_id = box[1:_HEAD]
        return key_id != self.current and (
            key_id in self._ciphers or key_id in self._former
        )  # compared: ids, see above

    def seal(self, name: str, plain: bytes) -> bytes:
        """Return a box that opens only under this name."""
        head, cipher = self._sealing
        nonce = os.urandom(NONCE_BYTES)
        if nonce < WORN_BELOW:
            self.worn = head[1:]
        return head + nonce + cipher.encrypt(nonce, plain, head + name.encode())

    def sealed_anew(self, name: str, box: bytes) -> bytes:
        """Return a box with the same in it, made with the current key; raises as `open` does.

        Opens also with keys that were held once: what a plan sealed before they were retired is still to be written.
        """
        former = self._former.get(box[1:_HEAD])
        ciphers = self._ciphers if former is None else {**self._former, **self._ciphers}
        return self.seal(name, _opened(ciphers, name, box))

    def open(self, name: str, box: bytes) -> bytes:
        """Return what a box holds; raises VaultDamaged or, for a later format, VaultUnreadable."""
        return _opened(self._ciphers, name, box)

    def __repr__(self) -> str:
        return f"<Sealer, {len(self._ciphers)} keys>"


def _opened(ciphers: Mapping[bytes, AESGCM], name: str, box: bytes) -> bytes:
    head = box[:_HEAD]
    cipher = ciphers.get(head[1:])
    if cipher is None or head[0] != FORMAT or len(box) < _BODY + TAG_BYTES:
        _refuse(name, box)
    try:
        return cipher.decrypt(box[_HEAD:_BODY], box[_BODY:], head + name.encode())
    except Exception:  # noqa: BLE001  # InvalidTag lives in a module not imported here; any failure means the same
        raise VaultDamaged(
            f"record {name} does not open",
            cause="its bytes were changed, cut, or moved here from another record or an older copy of the vault",
        ) from None


def key_id_of(box: bytes) -> bytes:
    """Return the id of the data key that a box says it was made with."""
    return box[1:_HEAD]


def _refuse(name: str, box: bytes) -> NoReturn:
    if box[:1] and box[0] > FORMAT:
        raise VaultUnreadable(f"record {name} is sealed by a later valetkey", fix="use the newest valetkey")
    raise VaultDamaged(
        f"record {name} is not a sealed box of this vault",
        cause="its bytes were changed or cut, it was copied here from another vault, or it was put back from before "
        "the data key it was sealed with was retired",
    )
