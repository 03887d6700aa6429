"""Backup and restore: whole, of one moment, verified before anything is replaced, and nothing used twice."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from valetkey.audit.ledger import Query
from valetkey.effects import Event
from valetkey.errors import (
    AlreadyExists,
    InvalidInput,
    KeyMissing,
    StoreUnavailable,
    ValetkeyError,
    VaultDamaged,
    VaultMissing,
    VaultUnreadable,
    WrongKey,
)
from valetkey.transport.sync import Transport
from valetkey.values import Entry
from valetkey.vault import backup
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.opening import open_world
from valetkey.vault.places import Place
from valetkey.vault.stores.bulk import bulk_of
from vaultkit import START, a_connection, an_app, lines_of

T0 = START.timestamp()
COUNT = 30


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    """Cross many page borders with few records."""
    monkeypatch.setattr("valetkey.vault.stores.bulk.PAGE", 7)


@pytest.fixture(params=["file", "database"])
def place(request, tmp_path):
    if request.param == "file":
        return Place.of(tmp_path / "vault" / "vault.db")
    return Place.of(request.getfixturevalue("postgres"))


@pytest.fixture
def copy(tmp_path):
    return tmp_path / "backup.db"


def opened(place, **choices):
    return open_world(place.path or place.url, transport=Transport, **choices)


def filled(place):
    desk, world = opened(place)
    assert world.store.swap("app/acme", 0, desk.seal_app(an_app()))
    for number in range(COUNT):
        sealed = desk.seal_connection(a_connection(label=f"user{number:03}", refresh=f"refresh-{number}"), T0)
        assert world.store.swap(f"connection/acme/user{number:03}", 0, sealed)
        world.audit.note(Event("connection.created", f"acme/user{number:03}"))
    return desk, world


def content(place):
    store = place.open(create=False)
    try:
        records = {name: store.load(name) for name in store.names("", "", 10_000)}
        return {name: (entry.box, entry.due_at) for name, entry in records.items()}
    finally:
        store.close()


def damaged(copy):
    """Change one record in a way that SQLite does not notice."""
    with sqlite3.connect(copy) as file:
        file.execute("UPDATE records SET box = CAST(box || x'00' AS BLOB) WHERE name LIKE '%user005'")
    file.close()


# ── writing one ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backup_is_one_file_for_its_owner_that_holds_everything(place, copy):
    filled(place)[1].store.close()
    assert backup.backup(place, copy) == COUNT + 3
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [file.name for file in copy.parent.iterdir() if file.is_file()] == ["backup.db"]
    assert content(Place.of(copy)) == content(place)


def test_a_backup_holds_no_key_and_nothing_readable(place, copy, canary):
    desk, world = filled(place)
    secret = canary.make("refresh token")
    world.store.swap("connection/acme/x", 0, desk.seal_connection(a_connection(label="x", refresh=secret), T0))
    world.store.close()
    backup.backup(place, copy)
    canary.assert_absent(copy)
    with pytest.raises(KeyMissing):
        backup.check(Place.of(copy), key_file=copy.with_suffix(".key"))


def test_a_backup_is_of_one_moment_while_others_write(place, copy):
    """A writer moves a pair of records forward together, one after the other: a backup never shows the second ahead."""
    _, world = filled(place)
    store = world.store
    for name in ("pair/1", "pair/2"):
        store.swap(name, 0, Entry("n", b"0"))
    stop, moved = threading.Event(), threading.Event()

    def move():
        number = 0
        while not stop.is_set():
            number += 1
            for name in ("pair/1", "pair/2"):
                assert store.swap(name, store.load(name).version, Entry("n", str(number).encode()))
            moved.set()

    writer = threading.Thread(target=move)
    writer.start()
    try:
        moved.wait(30)
        for number in range(5):
            file = copy.with_name(f"{number}.db")
            backup.backup(place, file)
            seen = content(Place.of(file))
            first, second = (int(seen[name][0]) for name in ("pair/1", "pair/2"))
            assert first - 1 <= second <= first
    finally:
        stop.set()
        writer.join()
        store.close()


def test_a_file_that_is_there_is_not_written_over(place, copy):
    filled(place)[1].store.close()
    copy.write_text("precious")
    with pytest.raises(AlreadyExists):
        backup.backup(place, copy)
    assert copy.read_text() == "precious"


def test_a_file_that_appears_meanwhile_is_not_written_over(place, copy):
    filled(place)[1].store.close()
    with pytest.raises(AlreadyExists):
        backup.backup(place, copy, progress=lambda *_: copy.write_text("precious"))
    assert copy.read_text() == "precious"
    assert [file.name for file in copy.parent.iterdir() if file.is_file()] == ["backup.db"]


def test_a_backup_that_cannot_be_finished_leaves_nothing_behind(place, copy):
    filled(place)[1].store.close()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.backup(place, copy, progress=stop)
    assert [file for file in copy.parent.iterdir() if file.is_file()] == []


def test_a_folder_that_is_not_there_is_said_to_be(place, tmp_path):
    filled(place)[1].store.close()
    with pytest.raises(ValetkeyError) as refused:
        backup.backup(place, tmp_path / "nowhere" / "backup.db")
    assert refused.value.fix


def test_a_backup_opened_as_a_vault_refuses(place, copy):
    filled(place)[1].store.close()
    backup.backup(place, copy)
    with pytest.raises(VaultUnreadable) as refused:
        opened(Place.of(copy))
    assert (refused.value.code, refused.value.evidence["state"]) == ("vault_not_in_use", "backup")
    with pytest.raises(VaultUnreadable):
        backup.backup(Place.of(copy), copy.with_name("again.db"))


# ── restoring it ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restored_vault_is_as_it_was_and_what_it_replaced_is_kept(place, copy):
    desk, world = filled(place)
    before = content(place)
    backup.backup(place, copy)
    held = world.store.load("connection/acme/user007")
    assert world.store.swap("connection/acme/user007", held.version, None)
    assert world.store.swap("app/later", 0, desk.seal_app(an_app(name="later")))
    newest = max(world.store.load(name).version for name in world.store.names("", "", 1000))
    after = content(place)
    world.store.close()
    done = backup.restore(copy, place)
    assert content(place) == before
    assert content(Place.of(done.aside)) == after
    with pytest.raises(VaultUnreadable):
        opened(Place.of(done.aside))
    _, again = opened(place)
    assert all(again.store.load(name).version > newest for name in before), "a late answer finds nothing it knew"
    assert again.store.swap("connection/acme/user007", held.version, held) is False
    assert again.store.swap("anew", 0, held)
    assert again.store.load("anew").version > newest
    assert lines_of(again.store, 1)[0].kind == "vault.restored"
    again.store.close()


def test_a_vault_is_restored_where_there_is_none(place, copy, tmp_path):
    filled(place)[1].store.close()
    before = content(place)
    backup.backup(place, copy)
    key = place.key_path(bytes.fromhex(backup.check(place).vault_id))
    empty = Place.of(tmp_path / "fresh" / "vault.db")
    done = backup.restore(copy, empty, key_file=key)
    assert done.aside is None
    assert content(empty) == before
    desk, world = opened(empty)
    assert desk.connection("acme/user003", world.store.load("connection/acme/user003"))
    world.store.close()
    assert Path(done.key_file) == tmp_path / "fresh" / "vault.key"


def test_a_restored_file_works_for_readers_and_writers_at_once(copy, tmp_path):
    place = Place.of(tmp_path / "vault.db")
    filled(place)[1].store.close()
    backup.backup(place, copy)
    backup.restore(copy, place)
    with sqlite3.connect(place.path) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600


def test_a_damaged_vault_can_be_replaced_and_is_kept(copy, tmp_path):
    place = Place.of(tmp_path / "vault.db")
    filled(place)[1].store.close()
    before = content(place)
    backup.backup(place, copy)
    place.path.write_bytes(b"not a database" * 1000)
    done = backup.restore(copy, place)
    assert done.aside.read_bytes().startswith(b"not a database")
    assert content(place) == before


def test_a_file_that_a_program_has_open_is_not_replaced(copy, tmp_path):
    place = Place.of(tmp_path / "vault.db")
    _, running = filled(place)
    backup.backup(place, copy)
    with pytest.raises(StoreUnavailable, match="open in other processes"):
        backup.restore(copy, place)
    assert running.store.swap("still", 0, Entry("x", b""))
    running.store.close()
    backup.restore(copy, place)


def test_verifying_says_what_is_in_a_backup(place, copy):
    filled(place)[1].store.close()
    backup.backup(place, copy)
    checked, _ = backup.verify(copy, place)
    assert (checked.records, sum(checked.states.values())) == (COUNT + 3, COUNT)
    assert checked == backup.check(place)


# ── what is refused, with nothing changed ────────────────────────────────────────────────────────────────────────


def spoil_nothing(copy):
    """Leave the backup as it is."""


def truncate(copy):
    os.truncate(copy, copy.stat().st_size // 2)


def empty(copy):
    copy.write_bytes(b"")


def scribble(copy):
    data = bytearray(copy.read_bytes())
    at = data.rindex(b"connection/acme/")  # and not where a page is empty, which harms nothing
    data[at : at + 600] = os.urandom(len(data[at : at + 600]))
    copy.write_bytes(data)


def other_program(copy):
    copy.unlink()
    with sqlite3.connect(copy) as file:
        file.execute("CREATE TABLE records (name)")
    file.close()


def in_use(copy):
    store = Place.of(copy).open(create=False)
    with bulk_of(store) as tables:
        tables.mark("keyring", frozen=False)
    store.close()


BAD = [
    (damaged, VaultDamaged),
    (truncate, (VaultDamaged, VaultUnreadable)),
    (empty, VaultDamaged),
    (scribble, (VaultDamaged, VaultUnreadable)),
    (other_program, VaultUnreadable),
    (in_use, InvalidInput),
    (Path.unlink, VaultMissing),
]


def state_of(place):
    store = place.open(create=False)
    try:
        return {name: store.load(name) for name in store.names("", "", 10_000)}, store.ledger.find(Query(), 1000)
    finally:
        store.close()


@pytest.mark.parametrize(("spoil", "error"), BAD, ids=[row[0].__name__ for row in BAD])
def test_a_bad_backup_changes_nothing(place, copy, spoil, error):
    filled(place)[1].store.close()
    backup.backup(place, copy)
    spoil(copy)
    before = state_of(place)
    files = sorted(path for path in copy.parent.rglob("*") if path != copy and not path.name.startswith("backup.db-"))
    with pytest.raises(error):
        backup.restore(copy, place)
    assert state_of(place) == before
    after = sorted(path for path in copy.parent.rglob("*") if path != copy and not path.name.startswith("backup.db-"))
    assert after == files
    opened(place)[1].store.close()


def test_a_backup_of_another_vault_changes_nothing(place, copy, tmp_path):
    other = Place.of(tmp_path / "other" / "vault.db")
    filled(other)[1].store.close()
    backup.backup(other, copy)
    filled(place)[1].store.close()
    before = state_of(place)
    with pytest.raises(WrongKey):
        backup.restore(copy, place, key_file=place.key_path(bytes.fromhex(backup.check(place).vault_id)))
    with pytest.raises(AlreadyExists, match="another vault"):
        backup.restore(copy, place, key_file=tmp_path / "other" / "vault.key")
    assert state_of(place) == before


def test_a_wrong_key_or_none_changes_nothing(place, copy, tmp_path):
    filled(place)[1].store.close()
    backup.backup(place, copy)
    KeyFile.create(str(tmp_path / "stranger.key"))
    before = state_of(place)
    for name, error in (("stranger.key", WrongKey), ("nowhere.key", KeyMissing)):
        with pytest.raises(error):
            backup.restore(copy, place, key_file=tmp_path / name)
    assert state_of(place) == before


def test_a_vault_with_a_record_that_does_not_open_is_found_by_check(place):
    _, world = filled(place)
    held = world.store.load("connection/acme/user005")
    world.store.swap("connection/acme/user005", held.version, Entry(held.state, held.box[:-1] + b"\0"))
    world.store.close()
    with pytest.raises(VaultDamaged, match="connection/acme/user005"):
        backup.check(place)
