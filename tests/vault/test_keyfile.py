"""The key file: its owner's alone, put in place whole, and never taken for what it is not."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from valetkey.errors import KeyMissing, StoreUnavailable, VaultUnreadable
from valetkey.vault import keyfile
from valetkey.vault.keyfile import KeyFile
from vaultprocs import make_key, together

KEY = bytes(range(32))
LINE = "valetkey-key-1 " + base64.urlsafe_b64encode(KEY).decode() + "\n"
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "vault.key")


def written(path, text, mode=0o600):
    Path(path).write_bytes(text if isinstance(text, bytes) else text.encode())
    Path(path).chmod(mode)
    return path


def test_a_key_file_that_was_made_is_read_again(path):
    made = KeyFile.create(path)
    assert KeyFile.read(path).key_id == made.key_id
    assert KeyFile.read(path).unwrap(made.wrap(b"plain", b"context"), b"context") == b"plain"


def test_the_file_is_one_line_as_documented(path):
    assert KeyFile.read(written(path, LINE)).key_id == KeyFile(KEY, "").key_id
    KeyFile.create(path + "2")
    mark, encoded = Path(path + "2").read_text("ascii").split()
    assert mark == "valetkey-key-1"
    assert len(base64.urlsafe_b64decode(encoded)) == 32


def test_two_files_hold_two_keys(path):
    assert KeyFile.create(path).key_id != KeyFile.create(path + "2").key_id


@posix
def test_the_file_is_its_owners_alone_whatever_the_umask(path):
    before = os.umask(0)
    try:
        KeyFile.create(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_nothing_lies_beside_a_key_file_that_was_made(path, tmp_path):
    KeyFile.create(path)
    assert [file.name for file in tmp_path.iterdir()] == ["vault.key"]


def test_a_key_file_that_is_there_is_kept_and_read(path):
    first = KeyFile.create(path)
    before = Path(path).read_bytes()
    assert KeyFile.create(path).key_id == first.key_id
    assert Path(path).read_bytes() == before


def test_eight_processes_that_make_the_file_at_once_end_up_with_one_key(path, tmp_path):
    keys = together(8, make_key, path)
    assert set(keys) == {KeyFile.read(path).key_id.hex()}
    assert [file.name for file in tmp_path.iterdir()] == ["vault.key"]


def test_where_there_are_no_hard_links_the_file_is_made_all_the_same(path, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(keyfile.os, "link", refuse)
    made = KeyFile.create(path)
    assert KeyFile.create(path).key_id == made.key_id, "one that is there is not overwritten"
    assert [file.name for file in tmp_path.iterdir()] == ["vault.key"]
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_a_missing_key_says_where_it_was_looked_for_and_none_is_made(path, tmp_path):
    with pytest.raises(KeyMissing) as refusal:
        KeyFile.read(path)
    assert path in str(refusal.value)
    assert "--key-file" in refusal.value.fix
    assert list(tmp_path.iterdir()) == []


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601, 0o777])
def test_a_file_that_others_can_use_is_refused(path, mode):
    with pytest.raises(VaultUnreadable) as refusal:
        KeyFile.read(written(path, LINE, mode))
    assert f"{mode:04o}" in str(refusal.value)
    assert refusal.value.fix == f"chmod 600 {path}"


@posix
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_that_only_its_owner_can_use_is_read(path, mode):
    assert KeyFile.read(written(path, LINE, mode)).key_id == KeyFile(KEY, "").key_id


WRONG = {
    "empty": "",
    "mark alone": "valetkey-key-1",
    "mark and a blank": "valetkey-key-1 \n",
    "cut by one": LINE[:-3],
    "cut in half": LINE[:30],
    "one byte too many": "valetkey-key-1 " + base64.urlsafe_b64encode(KEY + b"x").decode(),
    "a letter changed to no letter": LINE.replace("AAEC", "AA*C"),
    "a blank in the middle": LINE.replace("AAEC", "AA C"),
    "two lines": LINE + LINE,
    "no mark": LINE.removeprefix("valetkey-key-1 "),
    "a later mark": LINE.replace("key-1", "key-2"),
    "a PEM": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n",
    "bytes": bytes(range(256)),
    "another encoding": LINE.encode("utf-16"),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_file_that_is_no_key_file_is_refused_without_showing_it(path, text):
    with pytest.raises(VaultUnreadable) as refusal:
        KeyFile.read(written(path, text))
    assert "AAECAwQ" not in refusal.value.explain()
    assert refusal.value.fix


def test_blanks_at_the_end_do_no_harm(path):
    for text in (LINE.rstrip("\n"), LINE + "\n", LINE.replace("\n", "\r\n"), LINE + "  "):
        assert KeyFile.read(written(path, text)).key_id == KeyFile(KEY, "").key_id


def test_a_huge_file_is_not_read_whole(path):
    with Path(written(path, LINE)).open("ab") as file:
        file.truncate(1 << 40)  # a terabyte with nothing in it
    with pytest.raises(VaultUnreadable):
        KeyFile.read(path)


def test_a_folder_is_no_key_file(tmp_path):
    with pytest.raises(VaultUnreadable) as refusal:
        KeyFile.read(str(tmp_path))
    assert refusal.value.fix


@pytest.mark.parametrize("place", ["missing/vault.key", "file/vault.key"])
def test_a_key_file_that_cannot_be_made_leaves_nothing_behind(tmp_path, place):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreUnavailable) as refusal:
        KeyFile.create(str(tmp_path / place))
    assert refusal.value.fix
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_up_while_the_key_is_written_leaves_nothing_behind(path, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keyfile.os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        KeyFile.create(path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert KeyFile.create(path)


def test_a_wrapped_key_opens_only_whole_and_under_its_context():
    kek = KeyFile(KEY, "")
    wrapped = kek.wrap(b"plain", b"context")
    assert kek.unwrap(wrapped, b"context") == b"plain"
    assert kek.unwrap(wrapped, b"another") is None
    assert KeyFile(bytes(32), "").unwrap(wrapped, b"context") is None
    for place in range(len(wrapped)):
        changed = wrapped[:place] + bytes((wrapped[place] ^ 1,)) + wrapped[place + 1 :]
        assert kek.unwrap(changed, b"context") is None
        assert kek.unwrap(wrapped[:place], b"context") is None


def test_repr_shows_the_path_and_no_key():
    kek = KeyFile(KEY, "/srv/alice/vault.key")
    assert repr(kek) == "<KeyFile /srv/alice/vault.key>"
    assert kek.where == "/srv/alice/vault.key"
    assert len(kek.key_id) == 8
