"""Opening a vault: one keyring whoever comes first, a wrong key before anything is written, and what was spilled."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import msgspec
import pytest

import valetkey
from valetkey.audit.ledger import Query
from valetkey.errors import KeyMissing, StoreUnavailable, VaultDamaged, VaultMissing, VaultUnreadable, WrongKey
from valetkey.transport.sync import Transport
from valetkey.values import Entry, Secret
from valetkey.vault import quick
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.opening import default_path, open_world
from valetkey.vault.spill import SpillFolder
from valetkey.vault.stores.sqlite import SqliteStore
from vaultkit import START, a_connection, an_app, lines_of
from vaultprocs import make_vault, together

RECORD = "connection/acme/alice"
T0 = START.timestamp()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault.db"


def opened(path, **choices):
    return open_world(path, transport=Transport, **choices)


def filled(path, *connections):
    """Make a vault with an app and these connections, and close it."""
    desk, world = opened(path)
    assert world.store.swap("app/acme", 0, desk.seal_app(an_app()))
    for connection in connections:
        assert world.store.swap(RECORD, 0, desk.seal_connection(connection, T0))
    world.store.close()
    return desk


def tree(folder):
    """Return every file's content and time of change, and the records as they lie in the table."""
    files = {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.iterdir()
        if file.is_file() and not file.name.endswith(("-wal", "-shm"))
    }
    with sqlite3.connect(f"file:{folder / 'vault.db'}?mode=ro", uri=True) as reader:
        rows = reader.execute("SELECT * FROM records ORDER BY name").fetchall()
        lines = reader.execute("SELECT count(*) FROM audit").fetchone()
    reader.close()
    return files, rows, lines


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_vault_has_its_key_beside_it(path, tmp_path):
    filled(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["vault.db", "vault.key"]
    _, world = opened(path)
    (line,) = world.store.ledger.find(Query(kind="vault.created"), 10)
    world.close()
    assert line.detail == {"place": str(path)}


def test_a_vault_opens_again_with_what_was_in_it(path):
    filled(path, a_connection())
    desk, world = opened(path)
    assert desk.app("acme", world.store.load("app/acme")) == an_app()
    assert desk.connection("acme/alice", world.store.load(RECORD)) == a_connection()
    world.store.close()


def test_eight_processes_that_open_a_new_vault_at_once_share_one_keyring(path):
    boxes = together(8, make_vault, str(path))
    assert len(set(boxes)) == 1
    desk, world = opened(path)
    for number in range(8):
        name = f"app{number}"
        assert desk.app(name, world.store.load(f"app/{name}")).secret == Secret(f"secret-{number}")
    world.store.close()


def test_a_key_file_that_is_there_before_the_vault_is_used(path, tmp_path):
    mounted = KeyFile.create(str(tmp_path / "mounted.key"))
    opened(path, key_file=tmp_path / "mounted.key")[1].store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mounted.key", "vault.db"]
    KeyFile.create(str(tmp_path / "vault.key"))
    with pytest.raises(WrongKey) as refusal:
        opened(path)
    assert mounted.key_id.hex() in refusal.value.cause


def test_a_wrong_key_writes_nothing(path, tmp_path):
    filled(path, a_connection())
    (tmp_path / "vault.key").unlink()
    KeyFile.create(str(tmp_path / "vault.key"))
    before = tree(tmp_path)
    for create in (True, False):
        with pytest.raises(WrongKey) as refusal:
            opened(path, create=create)
        assert refusal.value.fix
    assert tree(tmp_path) == before


def test_a_missing_key_writes_nothing_and_none_is_made(path, tmp_path):
    filled(path, a_connection())
    (tmp_path / "vault.key").rename(tmp_path / "elsewhere")
    before = tree(tmp_path)
    for create in (True, False):
        with pytest.raises(KeyMissing):
            opened(path, create=create)
    assert tree(tmp_path) == before
    assert not (tmp_path / "vault.key").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "vault.key")
    opened(path)[1].store.close()


def test_an_edited_key_file_writes_nothing(path, tmp_path):
    filled(path, a_connection())
    (tmp_path / "vault.key").write_text("valetkey-key-1 AAAA\n")
    before = tree(tmp_path)
    with pytest.raises(VaultUnreadable):
        opened(path)
    assert tree(tmp_path) == before


def changed_keyring(path, change):
    with sqlite3.connect(path) as store:
        (box,) = store.execute("SELECT box FROM records WHERE name = 'keyring'").fetchone()
        store.execute("UPDATE records SET box = ? WHERE name = 'keyring'", (change(box),))
    store.close()


def test_a_damaged_keyring_is_told_from_a_wrong_key(path):
    filled(path, a_connection())
    changed_keyring(path, lambda box: box[:-1] + bytes((box[-1] ^ 1,)))
    with pytest.raises(VaultDamaged) as refusal:
        opened(path)
    assert "backup" in refusal.value.fix


def test_a_vault_that_lost_its_keyring_is_not_given_a_new_one(path, tmp_path):
    filled(path, a_connection())
    with sqlite3.connect(path) as store:
        store.execute("DELETE FROM records WHERE name = 'keyring'")
    store.close()
    before = tree(tmp_path)
    with pytest.raises(VaultDamaged, match="not the keyring"):
        opened(path)
    assert tree(tmp_path) == before


def test_a_vault_whose_creation_stopped_before_the_keyring_is_finished(path, tmp_path):
    SqliteStore.open(path, create=True).close()
    KeyFile.create(str(tmp_path / "vault.key"))
    filled(path, a_connection())
    opened(path)[1].store.close()


def test_no_vault_is_made_where_none_is_wanted(path, tmp_path):
    with pytest.raises(VaultMissing):
        opened(path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_who_only_looks_does_not_finish_a_vault_whose_creation_stopped(path, tmp_path):
    SqliteStore.open(path, create=True).close()
    with pytest.raises(VaultMissing):
        opened(path, create=False)
    assert not (tmp_path / "vault.key").exists()


@pytest.mark.parametrize(("create", "warned"), [(None, True), (True, False)])
def test_a_program_that_did_not_ask_for_a_new_vault_is_warned_of_one(path, caplog, create, warned):
    with valetkey.open(path, create=create) as vault:
        assert vault.made == str(path)
    assert [record.getMessage() for record in caplog.records] == ([f"made a new vault at {path}"] if warned else [])
    caplog.clear()
    with valetkey.open(path, create=create) as vault:
        assert vault.made == ""
    assert not caplog.records


def test_a_refused_vault_is_let_go_of(path, tmp_path, monkeypatch):
    filled(path)
    (tmp_path / "vault.key").unlink()
    closed, close = [], SqliteStore.close
    monkeypatch.setattr(SqliteStore, "close", lambda self: (closed.append(self.path), close(self)))
    with pytest.raises(KeyMissing):
        opened(path)
    assert closed == [path]


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────

PLACES = [
    # platform, environment, vault, key
    ("linux", {}, "~/data/valetkey/vault.db", "~/data/valetkey/vault.key"),
    ("linux", {"XDG_DATA_HOME": ""}, "~/.local/share/valetkey/vault.db", "~/.local/share/valetkey/vault.key"),
    ("linux", {"VALETKEY_VAULT": "/srv/v.db"}, "/srv/v.db", "/srv/v.key"),
    ("linux", {"VALETKEY_VAULT": "~/v.sqlite"}, "~/v.sqlite", "~/v.key"),
    ("linux", {"VALETKEY_VAULT": "/srv/v.d/vault"}, "/srv/v.d/vault", "/srv/v.d/vault.key"),
    ("linux", {"VALETKEY_KEY_FILE": "/run/secrets/key"}, "~/data/valetkey/vault.db", "/run/secrets/key"),
    ("linux", {"VALETKEY_KEY_FILE": "~/k"}, "~/data/valetkey/vault.db", "~/k"),
    (
        "darwin",
        {},
        "~/Library/Application Support/valetkey/vault.db",
        "~/Library/Application Support/valetkey/vault.key",
    ),
    ("darwin", {"VALETKEY_VAULT": "/srv/v.db"}, "/srv/v.db", "/srv/v.key"),
    ("win32", {"LOCALAPPDATA": "/c/Local"}, "/c/Local/valetkey/vault.db", "/c/Local/valetkey/vault.key"),
    ("win32", {"LOCALAPPDATA": ""}, "~/AppData/Local/valetkey/vault.db", "~/AppData/Local/valetkey/vault.key"),
]


@pytest.mark.parametrize("row", PLACES)
def test_a_vault_is_where_its_system_keeps_such_things(home, monkeypatch, row):
    platform, environment, vault, key = row
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = [where.replace("~", str(home)) for where in (vault, key)]
    assert list(quick.places()) == expected
    assert default_path() == Path(expected[0])


def test_the_short_way_and_the_long_way_use_the_same_key_file(path, tmp_path, monkeypatch):
    monkeypatch.setenv("VALETKEY_KEY_FILE", str(tmp_path / "named.key"))
    opened(path)[1].store.close()
    assert quick.key_beside(str(path)) == str(tmp_path / "named.key")
    assert (tmp_path / "named.key").exists()
    assert not (tmp_path / "vault.key").exists()


# ── what was spilled ─────────────────────────────────────────────────────────────────────────────────────────────


def spilled(path, desk, connection):
    folder = SpillFolder(path.with_suffix(".spill"))
    folder.put(RECORD, desk.seal_connection(connection, T0))
    return folder


def renewed(connection, number=2, **changes):
    """Return a connection as a refresh leaves it."""
    tokens = msgspec.structs.replace(
        connection.tokens, access=Secret(f"access-{number}"), refresh=Secret(f"refresh-{number}")
    )
    facts = {"generation": connection.generation + 1, "spent": connection.tokens.refresh.fingerprint(), **changes}
    return msgspec.structs.replace(connection, tokens=tokens, refreshed_at=T0 + 60, **facts)


def held(path):
    desk, world = opened(path)
    entry = world.store.load(RECORD)
    kinds = [line.kind for line in lines_of(world.store, 10)]
    world.store.close()
    return None if entry is None else desk.connection("acme/alice", entry), kinds


def test_a_spilled_token_comes_home_when_the_vault_is_opened(path):
    desk = filled(path, a_connection())
    folder = spilled(path, desk, renewed(a_connection()))
    connection, kinds = held(path)
    assert connection.tokens.refresh == Secret("refresh-2")
    assert kinds == ["refresh.recovered"]
    assert list(folder.all()) == []


def test_a_first_grant_that_was_never_saved_comes_home(path):
    desk = filled(path)
    folder = spilled(path, desk, a_connection())
    assert held(path)[0].tokens.refresh == Secret("refresh-1")
    assert list(folder.all()) == []


def test_a_new_consent_that_could_not_be_saved_comes_home(path):
    desk = filled(path, a_connection())
    folder = spilled(path, desk, renewed(a_connection(), number=7, spent=""))
    assert held(path)[0].tokens.refresh == Secret("refresh-7")
    assert list(folder.all()) == []


OUTDATED = {
    "a newer one is there": (renewed(a_connection()), renewed(renewed(a_connection()), 3)),
    "as new a one is there": (renewed(a_connection()), renewed(a_connection(), 9)),
    "a person consented anew": (renewed(a_connection()), a_connection(refresh="refresh-of-a-new-consent")),
    "it was disconnected since": (renewed(a_connection()), a_connection(revoked_at=T0 + 61)),
    "it was removed since": (renewed(a_connection()), None),
    "it was reconnected, then removed": (renewed(a_connection(), spent=""), None),
}


@pytest.mark.parametrize(("waiting", "there"), OUTDATED.values(), ids=OUTDATED)
def test_a_spilled_token_that_is_outdated_is_dropped(path, waiting, there):
    desk = filled(path, *([] if there is None else [there]))
    folder = spilled(path, desk, waiting)
    assert held(path) == (there, [])
    assert list(folder.all()) == []


def test_a_consent_after_the_disconnection_comes_home(path):
    desk = filled(path, a_connection(revoked_at=T0 + 59))
    spilled(path, desk, renewed(a_connection(), spent=""))
    assert held(path)[0].tokens.refresh == Secret("refresh-2")


def test_what_another_vault_spilled_stays_where_it_is(path, tmp_path):
    filled(path, a_connection())
    other = filled(tmp_path / "other.db", a_connection())
    folder = spilled(path, other, renewed(a_connection()))
    assert held(path) == (a_connection(), [])
    assert [name for name, _ in folder.all()] == [RECORD]


def test_what_a_later_valetkey_spilled_stays_and_the_vault_opens(path):
    desk = filled(path, a_connection())
    folder = SpillFolder(path.with_suffix(".spill"))
    folder.put(RECORD, Entry("active", b"\x02" + desk.seal_connection(a_connection(), T0).box[1:]))
    assert held(path)[0] == a_connection()
    assert [name for name, _ in folder.all()] == [RECORD]


@pytest.mark.parametrize("garbage", [b"", b"not msgpack", b"\x93\xa1a\xa1b\xa1c"])
def test_a_spilled_file_that_cannot_be_read_is_left_alone(path, garbage):
    filled(path, a_connection())
    folder = path.with_suffix(".spill")
    folder.mkdir()
    (folder / "0.box").write_bytes(garbage)
    assert held(path)[0] == a_connection()
    assert (folder / "0.box").read_bytes() == garbage


def test_a_vault_that_can_only_be_read_opens_and_keeps_what_was_spilled(path, monkeypatch):
    desk = filled(path, a_connection())
    folder = spilled(path, desk, renewed(a_connection()))

    def full(*_):
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as down:
        down.setattr(SqliteStore, "swap", full)
        assert held(path)[0] == a_connection()
    assert [name for name, _ in folder.all()] == [RECORD]
    assert held(path)[0].tokens.refresh == Secret("refresh-2")


# ── the folder ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_spilled_entry_is_its_owners_alone_and_says_so_in_the_log(tmp_path, caplog):
    folder = SpillFolder(tmp_path / "v.spill")
    folder.put(RECORD, Entry("active", b"sealed"))
    if os.name == "posix":
        assert (tmp_path / "v.spill").stat().st_mode & 0o777 == 0o700
        assert [file.stat().st_mode & 0o777 for file in (tmp_path / "v.spill").iterdir()] == [0o600]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert RECORD in caplog.text


def test_the_newest_entry_of_a_record_replaces_the_older(tmp_path):
    folder = SpillFolder(tmp_path / "v.spill")
    for box in (b"old", b"new"):
        folder.put(RECORD, Entry("active", box))
    folder.put("connection/acme/bob", Entry("active", b"bob"))
    assert {name: entry.box for name, entry in folder.all()} == {RECORD: b"new", "connection/acme/bob": b"bob"}
    folder.drop(RECORD)
    folder.drop(RECORD)
    assert [name for name, _ in folder.all()] == ["connection/acme/bob"]


def test_a_token_that_can_be_kept_nowhere_is_cried_out_and_not_raised(tmp_path, caplog):
    (tmp_path / "v.spill").write_text("a file where the folder should be")
    SpillFolder(tmp_path / "v.spill").put(RECORD, Entry("active", b"sealed"))
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert RECORD in caplog.text
    assert list(SpillFolder(tmp_path / "v.spill").all()) == []
