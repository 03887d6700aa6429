"""The default key-encryption key: a file beside the vault that only its owner can read.

The file is one line, `valetkey-key-1 <base64url of 32 bytes>`. It is put in place whole or not at all, so two
processes that create a vault at once end up with one key. Paths are strings here, because importing pathlib costs
what opening the vault costs.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import stat
from typing import Final, NoReturn

from valetkey.errors import KeyMissing, StoreUnavailable, VaultUnreadable
from valetkey.vault.seal import KEY_BYTES, NONCE_BYTES

MARK: Final = "valetkey-key-1"
LONGEST: Final = 4096  # a key file is 60 bytes; more than this is another file given by mistake


class KeyFile:
    """Be a key-encryption key read from a file, or 32 bytes come by in another way, which `descriptor` then tells."""

    def __init__(self, key: bytes, where: str, descriptor: bytes = b"") -> None:
        self._key = key
        self._where = where
        self._descriptor = descriptor

    @property
    def key_id(self) -> bytes:
        """Return a fingerprint of the key: it has 256 bits of entropy, so its hash gives nothing away."""
        import hashlib  # late: loads OpenSSL a second time, and a fresh token needs no fingerprint

        return hashlib.sha256(b"valetkey kek\0" + self._key).digest()[:8]

    @property
    def where(self) -> str:
        """Return the path."""
        return self._where

    @property
    def descriptor(self) -> bytes:
        """Return how to come by the key (keks/); empty for a key in a file."""
        return self._descriptor

    def reveal(self) -> bytes:
        """Return the key itself; the name is meant to stand out in review."""
        return self._key

    def line(self) -> str:
        """Return the line of a key file; it is the key itself."""
        return f"{MARK} {_armoured(self._key)}"

    @classmethod
    def of_line(cls, line: str, where: str) -> KeyFile:
        """Read the line of a key file; raises VaultUnreadable."""
        return cls(_parse(line.encode(), where), where)

    def wrap(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt with AES-256-GCM, bound to `context`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # late, as in seal.py

        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, plain, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """Decrypt; None where bytes or context are not those that were wrapped."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # late, as in seal.py

        try:
            return AESGCM(self._key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except Exception:  # noqa: BLE001  # InvalidTag, or ValueError for a cut box: both mean "not what was wrapped"
            return None

    def __reduce__(self) -> NoReturn:
        message = f"a {type(self).__name__} is not pickled: the bytes would hold keys in the clear"
        raise TypeError(message)

    def __repr__(self) -> str:
        return f"<KeyFile {self._where}>"

    @classmethod
    def read(cls, path: str) -> KeyFile:
        """Read a key file; raises KeyMissing or VaultUnreadable."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123  # no pathlib here, see above
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(LONGEST + 1)
        except FileNotFoundError:
            raise KeyMissing(
                f"the vault is there, but its key {_shown(path)} is not",
                cause="the key file was moved or deleted, or only the vault was copied or mounted",
                fix="put the key file back beside the vault, or name it with --key-file; without it nothing can be "
                "opened, and no new one is made so that nothing is lost",
            ) from None
        except OSError as refusal:
            raise VaultUnreadable(
                f"the key file {_shown(path)} cannot be read: {refusal.strerror}", fix="check its owner and permissions"
            ) from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise VaultUnreadable(
                f"the key file {path} can be read by others (mode {stat.S_IMODE(mode):04o})",
                cause="whoever reads this file can open the vault",
                fix=f"chmod 600 {path}",
            )
        return cls(_parse(text, path), path)

    @classmethod
    def create(cls, path: str) -> KeyFile:
        """Create the file with mode 0600, or read the one that somebody else created first."""
        return cls(os.urandom(KEY_BYTES), path).save(path)

    def save(self, path: str) -> KeyFile:
        """Write this key to a file with mode 0600, or read the key that is there already."""
        draft = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{self.line()}\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                _publish(draft, path)
        except OSError as refusal:
            kind = VaultUnreadable if isinstance(refusal, PermissionError) else StoreUnavailable
            raise kind(
                f"the key file {_shown(path)} cannot be written: {refusal.strerror}",
                fix="free some space or check the folder's permissions; nothing was changed",
            ) from None
        finally:
            with contextlib.suppress(OSError):
                os.unlink(draft)  # noqa: PTH108  # no pathlib here, see above
        return KeyFile.read(path)


def _shown(path: str) -> str:
    from valetkey.values import shown_path  # late: a fresh token needs no words

    return shown_path(path)


def _publish(draft: str, path: str) -> None:
    """Give the finished draft its name, unless the name is taken (FileExistsError)."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links on this file system (FAT, some network shares): the next best thing that refuses to overwrite.
        copied = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(copied, "wb") as copy, open(draft, "rb") as file:  # noqa: PTH123  # no pathlib here, see above
            copy.write(file.read())
    if os.name == "posix":
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)  # noqa: PTH120  # no pathlib here, see above
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _armoured(key: bytes) -> str:
    return binascii.b2a_base64(key, newline=False).decode().replace("+", "-").replace("/", "_")


def _parse(text: bytes, path: str) -> bytes:
    mark, _, encoded = text.decode("ascii", "replace").strip().partition(" ")
    try:
        plain = encoded.replace("-", "+").replace("_", "/")
        key = binascii.a2b_base64(plain, strict_mode=True) if mark == MARK else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultUnreadable(
            f"{path} is not a valetkey key file",
            cause="another file was named, or this one was cut or edited",
            fix="name the right file with --key-file, or restore it from a backup",
        )
    return key
