"""Sealing: AES-256-GCM with the record's name as associated data, so that a box copied to another row does not open.

    box = format (1 byte) | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag
    associated data = format | key id | record name

What may not be here: files, stores, and where keys come from (keyring.py). The nonce is drawn here from the
operating system: it is no decision of a plan, and nothing is gained by replaying one.
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

_HEAD: Final = 1 + ID_BYTES
_BODY: Final = _HEAD + NONCE_BYTES
TAG_BYTES: Final = 16


class Sealer:
    """Seal and open boxes with data keys; new boxes are made with the key `current`."""

    __slots__ = ("_ciphers", "_head", "current")

    def __init__(self, keys: Mapping[bytes, bytes], current: bytes) -> None:
        # Late: this import is a fifth of what `valetkey token` costs, and listing commands do not need it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ciphers: dict[bytes, AESGCM] = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.current = current
        self._head = bytes((FORMAT,)) + current

    def seal(self, name: str, plain: bytes) -> bytes:
        """Return a box that opens only under this name."""
        nonce = os.urandom(NONCE_BYTES)
        return self._head + nonce + self._ciphers[self.current].encrypt(nonce, plain, self._head + name.encode())

    def open(self, name: str, box: bytes) -> bytes:
        """Return what a box holds; raises VaultDamaged or, for a later format, VaultUnreadable."""
        head = box[:_HEAD]
        cipher = self._ciphers.get(head[1:])
        if cipher is None or head[0] != FORMAT or len(box) < _BODY + TAG_BYTES:
            _refuse(name, box)
        try:
            return cipher.decrypt(box[_HEAD:_BODY], box[_BODY:], head + name.encode())
        except Exception:  # noqa: BLE001  # InvalidTag lives in a module not imported here; any failure means the same
            raise VaultDamaged(
                f"record {name} does not open",
                cause="its bytes were changed, cut, or moved here from another record or an older copy of the vault",
            ) from None

    def __repr__(self) -> str:
        return f"<Sealer, {len(self._ciphers)} keys>"


def _refuse(name: str, box: bytes) -> NoReturn:
    if box[:1] and box[0] > FORMAT:
        raise VaultUnreadable(f"record {name} is sealed by a later valetkey", fix="use the newest valetkey")
    raise VaultDamaged(
        f"record {name} is not a sealed box of this vault",
        cause="its bytes were changed or cut, or it was copied here from another vault",
    )
