"""The folder beside the store: room is kept for what may have to go there, so that a full disk does not lose it."""

from __future__ import annotations

import errno
import stat

import pytest

from valetkey.values import Entry
from valetkey.vault import spill
from valetkey.vault.spill import ROOM, SpillFolder

NAME = "connection/acme/alice"
SEALED = Entry("active", b"a sealed token")


@pytest.fixture
def folder(tmp_path):
    return SpillFolder(tmp_path / "v.spill")


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.folder.iterdir())


@pytest.fixture
def full_disk(folder, monkeypatch):
    """Let no file be made while the room is kept, as on a disk that is full but for it."""
    made = spill.new_file

    def refuse(path):
        if (folder.folder / "room").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return made(path)

    return lambda: monkeypatch.setattr(spill, "new_file", refuse)


def test_room_is_kept_once_and_for_its_owner_alone(folder):
    folder.reserve()
    before = (folder.folder / "room").stat()
    folder.reserve()
    after = (folder.folder / "room").stat()
    assert (after.st_size, after.st_ino) == (ROOM, before.st_ino)
    assert after.st_blocks * 512 >= ROOM, "a file of holes would keep nothing"
    assert stat.S_IMODE(after.st_mode) == 0o600
    assert list(folder.all()) == []


def test_on_a_full_disk_the_room_makes_place_for_the_token(folder, full_disk):
    folder.reserve()
    full_disk()
    folder.put(NAME, SEALED)
    assert folder.get(NAME) == SEALED
    assert len(files(folder)) == 1, "the room is used up, and no draft is left"
    folder.drop(NAME)
    folder.reserve()
    assert files(folder) == ["room"], "and kept again when there is place"


def test_without_room_a_full_disk_is_said_loudly_and_leaves_nothing_half_written(folder, monkeypatch, caplog):
    def refuse(_path):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder.reserve()
    monkeypatch.setattr(spill, "new_file", refuse)
    folder.put(NAME, SEALED)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert folder.get(NAME) is None
    assert files(folder) == []
    folder.reserve()
    assert files(folder) == []
