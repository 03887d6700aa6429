"""The spool: where the short way of `valetkey token` writes down what it hands out, for the audit log to take in.

    line of the file = base64( box of the record "audit/spool" )
    record           = time (8, double) | process (8) | user (8) | fingerprint (12) | connection

Writing the log itself needs a chain and a durable commit, which take longer than the whole call. A record is appended
in one write; taken.py takes it in. What may not be here: imports that cost, as in quick.py, and tokens.
"""

from __future__ import annotations

import binascii
import os
import struct
from typing import Final, NamedTuple

from valetkey.vault.seal import ID_BYTES, NONCE_BYTES, Sealer

RECORD: Final = "audit/spool"

MOST: Final = 1_000_000
"""Bytes of a spool: some six thousand records. A longer one is declined, and the long way takes it in."""

ATTEMPTS: Final = 5
"""Appends that find the file renamed under them; each means that the log was being written just then."""

LAYOUT: Final = struct.Struct(">dQQ12s")
_NONCE: Final = slice(1 + ID_BYTES, 1 + ID_BYTES + NONCE_BYTES)


class Handed(NamedTuple):
    """Be one record: that a token was handed out. `id` is its own, and tells a record that was taken in twice."""

    at: float
    process: int
    user: int
    fingerprint: str
    connection: str
    id: str


def spool_beside(vault: str) -> str:
    """Return the path of a vault's spool."""
    return os.path.splitext(vault)[0] + ".spool"  # noqa: PTH122  # no pathlib here, as in quick.py


def hand_out(vault: str, sealer: Sealer, connection: str, token: str, moment: float) -> bool:
    """Write down that a token is handed out; where that cannot be done it may not be. Raises OSError."""
    if os.name == "posix" and not os.geteuid() and os.stat(vault).st_uid:  # noqa: PTH116  # as above
        return False  # what root makes here, the vault's owner could not append to
    plain = LAYOUT.pack(moment, os.getpid(), _user(), fingerprint(token).encode()) + connection.encode()
    # The line break in front keeps a line apart from one that a full disk has cut.
    line = b"\n" + binascii.b2a_base64(sealer.seal(RECORD, plain))
    path = spool_beside(vault)
    return any(_appended(path, line) for _ in range(ATTEMPTS)) if _has_room(path) else False


def box_of(line: bytes) -> bytes:
    """Return the box in a line of a spool; raises ValueError."""
    return binascii.a2b_base64(line, strict_mode=True)


def opened(sealer: Sealer, box: bytes) -> Handed:
    """Read a record of a spool; raises VaultDamaged, VaultUnreadable or ValueError."""
    plain = sealer.open(RECORD, box)
    at, process, user, shown = LAYOUT.unpack_from(plain)
    return Handed(at, process, user, shown.decode(), plain[LAYOUT.size :].decode(), box[_NONCE].hex())


def fingerprint(token: str) -> str:
    """Return what Secret.fingerprint does, without hashlib, which costs a tenth of the whole call."""
    try:
        from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]  # its name before that
        except ImportError:
            from hashlib import sha256
    hashed: str = sha256(b"valetkey fingerprint\0" + token.encode("utf-8", "surrogatepass")).hexdigest()
    return hashed[:12]


def _user() -> int:
    return os.getuid() if os.name == "posix" else 0


def _has_room(path: str) -> bool:
    try:
        return os.stat(path).st_size < MOST  # noqa: PTH116  # as above
    except FileNotFoundError:
        return True


def _appended(path: str, line: bytes) -> bool:
    """Append a line; False if the file was taken in at the same moment, perhaps without it."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    file = os.open(path, flags, 0o600)
    try:
        if os.write(file, line) < len(line):
            raise OSError("the disk is full")
        getattr(os, "fdatasync", os.fsync)(file)  # as durable as what is told, which is committed within a second
        return _is_there(file, path)
    finally:
        os.close(file)


def _is_there(file: int, path: str) -> bool:
    """Say whether an open file still has its name: then whoever renames it will read what was written."""
    try:
        ours, there = os.fstat(file), os.stat(path)  # noqa: PTH116  # as above
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
