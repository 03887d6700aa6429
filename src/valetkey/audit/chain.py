"""The chain of one writer: how a line stands on the one before it, and how its end is signed and sealed. Pure.

    hash      = SHA-256( link of the line before | the line, as a JSON array )
    link      = SHA-256( hash | signature )                  what the next line stands on
    first     = SHA-256( "valetkey audit chain 1", NUL, vault id, writer )   the link before line number 1
    signature = Ed25519( "valetkey audit line 1", NUL, vault id, hash )      of the last line of every commit
    tag       = HMAC-SHA-256( what must not be forged in the store: heads, floors, the roster )

A signature can be checked by who has the public key alone. A tag can be checked only by who can open the vault; there
is no older one of it lying about in the store, as there are older signatures. What may not be here: stores, clocks.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from valetkey.audit.line import Line, millis_of
from valetkey.values import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEED_BYTES: Final = 32
HASH_BYTES: Final = 32
_HEAD: Final = struct.Struct(">Q32s")
_encode: Final = msgspec.json.Encoder().encode


class Stand(NamedTuple):
    """Be a place in a chain: the number of a line, and the link that the next one stands on."""

    number: int
    link: bytes


def first(vault_id: bytes, writer: str) -> Stand:
    """Return where a chain begins: bound to its vault and its writer, so that no other's lines fit."""
    return Stand(0, hashlib.sha256(b"valetkey audit chain 1\0" + vault_id + writer.encode()).digest())


def content(line: Line) -> bytes:
    """Return what is hashed of a line."""
    return _content(line, line.writer, line.number)


def _content(line: Line, writer: str, number: int) -> bytes:
    whole = (writer, number, millis_of(line.at), line.actor, line.kind, line.subject, line.outcome)
    return _encode((*whole, line.reason, line.detail, line.request, line.fingerprint))


def hash_of(link: bytes, line: Line) -> bytes:
    """Return the hash of a line that stands on `link`."""
    return hashlib.sha256(link + content(line)).digest()


def link_of(hashed: bytes, signature: bytes) -> bytes:
    """Return what the next line stands on: a signature cannot be taken away without being missed."""
    return hashlib.sha256(hashed + signature).digest()


class Signed:
    """Say what the owner of a public key signed, in the log of one vault; raises ValueError for no such key."""

    __slots__ = ("_public", "public", "vault_id")

    def __init__(self, vault_id: bytes, public: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # late: few look

        self.vault_id = vault_id
        self.public = public
        self._public: Ed25519PublicKey = Ed25519PublicKey.from_public_bytes(public)

    def holds(self, purpose: str, signed: bytes, signature: bytes) -> bool:
        """Say whether this was signed for this purpose."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(signature, _purposed(purpose, self.vault_id, signed))
        except InvalidSignature:
            return False
        return True


class ChainKey:
    """Sign and tag the audit log of one vault. Made from two secrets that are sealed in it."""

    __slots__ = ("_private", "_tagging", "public", "vault_id")

    def __init__(self, vault_id: bytes, signing: Secret, tagging: Secret) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # late: only writers sign

        self.vault_id = vault_id
        self._private: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(signing.reveal()))
        self._tagging = bytes.fromhex(tagging.reveal())
        self.public = self._private.public_key().public_bytes_raw()

    def signed(self) -> Signed:
        """Return what checks signatures with the public half."""
        return Signed(self.vault_id, self.public)

    def sign(self, purpose: str, signed: bytes) -> bytes:
        """Return a signature that holds for this purpose only."""
        return self._private.sign(_purposed(purpose, self.vault_id, signed))

    def tag(self, purpose: str, tagged: bytes) -> bytes:
        """Return a tag that holds for this purpose only."""
        return hmac.digest(self._tagging, _purposed(purpose, self.vault_id, tagged), "sha256")

    def boxed(self, purpose: str, stand: Stand) -> bytes:
        """Return a place in a chain, tagged."""
        plain = _HEAD.pack(*stand)
        return plain + self.tag(purpose, plain)

    def unboxed(self, purpose: str, box: bytes) -> Stand | None:
        """Return the place that was tagged for this purpose; None for anything else."""
        plain, tag = box[: _HEAD.size], box[_HEAD.size :]
        if len(plain) != _HEAD.size or not hmac.compare_digest(tag, self.tag(purpose, plain)):
            return None
        return Stand(*_HEAD.unpack(plain))

    def __repr__(self) -> str:
        return f"<ChainKey of vault {self.vault_id.hex()}>"


def peeked(box: bytes) -> Stand | None:
    """Return the place in a box without looking at its tag: for who has no key, and another proof of the box."""
    return Stand(*_HEAD.unpack_from(box)) if len(box) == _HEAD.size + HASH_BYTES else None


def head_purpose(writer: str, ordinal: int) -> str:
    """Return what the tag of a writer's last line is for."""
    return f"head {ordinal} {writer}"


def floor_purpose(writer: str, ordinal: int) -> str:
    """Return what the tag of the last line that was pruned is for."""
    return f"floor {ordinal} {writer}"


def chained(key: ChainKey, writer: str, stand: Stand, lines: list[Line]) -> tuple[list[Line], Stand]:
    """Put lines behind a place in a chain, the last of them signed; return them and the new place."""
    number, link = stand
    made: list[Line] = []
    for line in lines:
        number += 1
        hashed = hashlib.sha256(link + _content(line, writer, number)).digest()
        signature = key.sign("line", hashed) if len(made) == len(lines) - 1 else b""
        link = link_of(hashed, signature)
        made.append(line.placed(writer, number, hashed, signature))
    return made, Stand(number, link)


def _purposed(purpose: str, vault_id: bytes, body: bytes) -> bytes:
    return b"valetkey audit " + purpose.encode() + b" 1\0" + vault_id + body
