"""Where a token waits while the store cannot be written: a folder beside the vault, each entry sealed as in the store.

An entry is put there when a provider has answered and every attempt to save the answer has failed. The next start,
or the next look at that connection, brings it home (recover.py).
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from valetkey.values import Entry
from valetkey.vault.private import new_file, private_folder

_log = logging.getLogger("valetkey.vault")


ROOM: Final = 256 * 1024
"""Bytes kept free for what may have to be spilled: some fifty tokens, each in a file of its own."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class _Spilled(msgspec.Struct, frozen=True):
    name: str
    state: str
    box: bytes


_read = msgspec.msgpack.Decoder(_Spilled).decode  # on import, by one thread: see providers/schema.py


class SpillFolder:
    """Keep sealed entries as files, one a record; the newest of a record replaces the older."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, entry: Entry) -> None:
        """Keep an entry. Logs loudly when even that fails; the caller still gets its token."""
        try:
            private_folder(self.folder)
            try:
                self._write(name, entry)
            except OSError as refusal:
                if refusal.errno not in _FULL:
                    raise
                self._room.unlink(missing_ok=True)  # this is what it was kept for
                self._write(name, entry)
        except OSError as refusal:
            _log.critical(
                "neither the vault nor %s can be written (%s): the renewed token of %s lives only in this process",
                self.folder,
                refusal.strerror,
                name,
            )
        else:
            _log.error("the vault cannot be written; the renewed token of %s is kept sealed in %s", name, self.folder)

    def _write(self, name: str, entry: Entry) -> None:
        path = self._path(name)
        draft = path.with_suffix(f".{os.urandom(6).hex()}.draft")
        try:
            with new_file(draft) as file:
                file.write(msgspec.msgpack.encode(_Spilled(name, entry.state, entry.box)))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def reserve(self) -> None:
        """Keep room for what may have to be spilled: on a disk that is full by then, nothing else could be written."""
        with suppress(OSError):  # full already: then nothing can be claimed, and nothing is spent
            if self._room.exists():
                return
            private_folder(self.folder)
            draft = self._room.with_suffix(f".{os.urandom(6).hex()}.draft")
            try:
                with new_file(draft) as file:
                    file.write(bytes(ROOM))
                draft.replace(self._room)
            except OSError:
                draft.unlink(missing_ok=True)
                raise

    @property
    def _room(self) -> Path:
        return self.folder / "room"

    def get(self, name: str) -> Entry | None:
        """Return what waits of a record; None also for a file that cannot be read."""
        with suppress(OSError, msgspec.MsgspecError):
            spilled = _read(self._path(name).read_bytes())
            return Entry(spilled.state, spilled.box)
        return None

    def all(self) -> Iterator[tuple[str, Entry]]:
        """Give the entries that wait; a file that cannot be read is left where it is."""
        if not os.path.isdir(self.folder):  # noqa: PTH112  # Path.is_dir raises where a folder above is not ours to read
            return
        for path in sorted(self.folder.glob("*.box")):
            with suppress(OSError, msgspec.MsgspecError):
                spilled = _read(path.read_bytes())
                yield spilled.name, Entry(spilled.state, spilled.box)

    def drop(self, name: str) -> None:
        """Forget an entry that has come home."""
        with suppress(OSError):  # it is looked at again at the next start, and found outdated
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / (hashlib.sha256(name.encode()).hexdigest()[:32] + ".box")
