"""Moving a vault: sealed bytes arrive as they were, nothing is used twice, and half a copy goes on where it ended."""

from __future__ import annotations

import os
import time

import msgspec
import pytest

from valetkey.audit.ledger import Query
from valetkey.effects import Event
from valetkey.errors import (
    AlreadyExists,
    InvalidInput,
    KeyMissing,
    StoreUnavailable,
    VaultDamaged,
    VaultMissing,
    VaultUnreadable,
    WrongKey,
)
from valetkey.transport.sync import Transport
from valetkey.values import Entry, Secret
from valetkey.vault import copying
from valetkey.vault.desk import fingerprint
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.opening import open_world
from valetkey.vault.places import Place
from valetkey.vault.records import Lease
from valetkey.vault.spill import SpillFolder
from valetkey.vault.stores.bulk import Bulk, bulk_of
from vaultkit import START, a_connection, an_app

T0 = START.timestamp()
SOME = 25


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    """Cross many page borders with few records."""
    monkeypatch.setattr("valetkey.vault.stores.bulk.PAGE", 7)
    monkeypatch.setattr(copying, "PAGE", 7)


@pytest.fixture
def file(tmp_path):
    return Place.of(tmp_path / "one" / "vault.db")


@pytest.fixture
def other_file(tmp_path):
    return Place.of(tmp_path / "two" / "vault.db")


@pytest.fixture
def database(postgres):
    return Place.of(postgres)


@pytest.fixture(params=["file to database", "database to file", "file to file"])
def ways(request, file, other_file):
    if request.param == "file to file":
        return file, other_file
    database = Place.of(request.getfixturevalue("postgres"))
    return (file, database) if request.param == "file to database" else (database, file)


def opened(place, **choices):
    return open_world(place.path or place.url, transport=Transport, **choices)


def connection(number, refresh=""):
    return a_connection(label=f"user{number:03}", refresh=refresh or f"refresh-{number}")


def filled(place, count=SOME):
    """Make a vault with connections whose versions differ, one name that was forgotten, and an audit log."""
    desk, world = opened(place)
    store = world.store
    assert store.swap("app/acme", 0, desk.seal_app(an_app()))
    for number in range(count):
        name = f"connection/acme/user{number:03}"
        for _ in range(number % 4 + 1):
            held = store.load(name)
            assert store.swap(name, held.version if held else 0, desk.seal_connection(connection(number), T0))
    store.swap("gone", 0, Entry("x", b""))
    for _ in range(40):
        store.swap("gone", store.load("gone").version, Entry("x", b""))
    store.swap("gone", store.load("gone").version, None)
    for number in range(20):
        world.audit.note(Event("refresh.started", f"acme/{number}", detail={"n": str(number)}))
    store.close()
    return desk


def content(place):
    """Return all that a store holds, without the states (the keyring's changes)."""
    store = place.open(create=False)
    try:
        records = {name: store.load(name) for name in store.names("", "", 10_000)}
        return {name: (e.version, e.box, e.due_at) for name, e in records.items()}, store.ledger.find(Query(), 10_000)
    finally:
        store.close()


def test_everything_arrives_as_it_was(ways):
    source, target = ways
    filled(source)
    records, lines = content(source)
    done = copying.copy(source, target)
    assert content(target)[0] == records
    assert content(target)[1][: len(lines)] == lines
    assert (done.records, done.lines) == (len(records), len(lines) + 2), (
        "two more: the copying process, and that it began"
    )
    desk, world = opened(target)
    for number in range(SOME):
        name = f"acme/user{number:03}"
        assert desk.connection(name, world.store.load(f"connection/{name}")) == connection(number)
    world.store.close()


def test_versions_go_on_above_all_that_ever_were(ways):
    source, target = ways
    filled(source)
    copying.copy(source, target)
    _, world = opened(target)
    world.store.swap("gone", 0, Entry("x", b""))
    assert world.store.load("gone").version > 41
    world.store.close()


def test_lines_written_after_a_copy_come_after_those_before(ways):
    source, target = ways
    filled(source)
    copying.copy(source, target)
    last = content(target)[1][-1]
    assert (last.kind, last.detail["target"]) == ("vault.moved", target.shown)


def test_the_source_refuses_to_be_used_afterwards(ways):
    source, target = ways
    filled(source)
    copying.copy(source, target)
    with pytest.raises(VaultUnreadable) as refused:
        opened(source)
    assert (refused.value.code, refused.value.evidence["state"]) == ("vault_not_in_use", "moved")
    assert "reopen --force" in refused.value.fix


def test_a_program_that_was_running_on_the_source_reads_on_and_writes_no_more(ways):
    source, target = ways
    filled(source)
    _, running = opened(source)
    copying.copy(source, target)
    held = running.store.load("app/acme")
    assert held is not None
    for name, seen, entry in (("app/acme", held.version, held), ("new", 0, held), ("app/acme", held.version, None)):
        with pytest.raises(StoreUnavailable, match="moved"):
            running.store.swap(name, seen, entry)
    running.store.close()


def test_a_vault_goes_there_and_back_again(file, database):
    desk = filled(file)
    copying.copy(file, database)
    _, world = opened(database)
    held = world.store.load("connection/acme/user003")
    newer = desk.seal_connection(connection(3, "newer"), T0)
    assert world.store.swap("connection/acme/user003", held.version, newer)
    assert world.store.swap("connection/acme/user004", world.store.load("connection/acme/user004").version, None)
    world.store.close()
    copying.copy(database, file)
    records, _ = content(file)
    assert records["connection/acme/user003"][:2] == (held.version + 1, newer.box)
    assert "connection/acme/user004" not in records
    opened(file)[1].store.close()
    with pytest.raises(VaultUnreadable):
        opened(database)


@pytest.mark.parametrize("after", range(1, 12))
def test_a_copy_that_was_interrupted_goes_on_where_it_ended(ways, monkeypatch, after):
    """Every transaction of either store is a place to be interrupted at."""
    source, target = ways
    filled(source)
    records, lines = content(source)
    calls = 0
    real = Bulk._within

    def interrupted(self, begin):
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt
        yield from real(self, begin)

    monkeypatch.setattr(Bulk, "_within", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copying.copy(source, target)
    monkeypatch.setattr(Bulk, "_within", real)
    if content_or_none(target):
        with pytest.raises((VaultUnreadable, VaultDamaged)):
            opened(target, create=False)
    done = copying.copy(source, target)
    assert content(target)[0] == records
    assert content(target)[1][: len(lines)] == lines
    assert after < 3 or done.written < len(records) - 1, "what was there was not written again"


def content_or_none(place):
    store = place.open(create=True)
    try:
        return store.names("", "", 1)
    finally:
        store.close()


def test_what_changes_while_the_copy_is_under_way_is_taken_along(ways):
    source, target = ways
    desk = filled(source)
    _, running = opened(source)
    newer = desk.seal_connection(connection(0, "newer"), T0)
    changed = []

    def meddle(doing, done, _of):
        if doing == "copying" and done >= SOME and not changed:
            first = running.store.load("connection/acme/user000")
            changed.append(running.store.swap("connection/acme/user000", first.version, newer))
            changed.append(running.store.swap("app/later", 0, desk.seal_app(an_app(name="later"))))
            last = running.store.load("connection/acme/user024")
            changed.append(running.store.swap("connection/acme/user024", last.version, None))

    copying.copy(source, target, progress=meddle)
    running.store.close()
    assert changed == [True, True, True]
    records, _ = content(target)
    assert records["connection/acme/user000"][1] == newer.box
    assert "app/later" in records
    assert "connection/acme/user024" not in records


def test_an_answer_that_came_too_late_for_the_source_is_brought_to_the_target(file, other_file):
    """A refresh was under way at the freeze: its process cannot save, and spills; the copy waits, and takes it along."""
    desk = filled(file)
    _, running = opened(file)
    leased = msgspec.structs.replace(connection(0), lease=Lease("other", time.time() + 30))
    name = "connection/acme/user000"
    assert running.store.swap(name, running.store.load(name).version, desk.seal_connection(leased, T0))
    tokens = msgspec.structs.replace(leased.tokens, refresh=Secret("the-next-one"))
    spent = fingerprint(leased.tokens.refresh)
    answered = msgspec.structs.replace(leased, lease=None, tokens=tokens, generation=2, spent=spent)
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        SpillFolder(file.path.with_suffix(".spill")).put(name, desk.seal_connection(answered, T0))

    copying.copy(file, other_file, sleep=sleep)
    running.store.close()
    assert 30 < waited[0] < 60
    there_desk, there = opened(other_file)
    assert there_desk.connection("acme/user000", there.store.load(name)).tokens.refresh.reveal() == "the-next-one"
    there.store.close()


def test_progress_is_told(file, other_file):
    filled(file)
    told = []
    copying.copy(file, other_file, progress=lambda *what: told.append(what))
    assert {doing for doing, _, _ in told} == {"copying", "verifying"}
    assert told[-1] == ("verifying", SOME + 3, SOME + 3)


# ── what is refused, with nothing changed ────────────────────────────────────────────────────────────────────────


def test_a_target_with_another_vault_is_left_alone(ways):
    source, target = ways
    filled(source)
    filled(target, 3)
    before = content(source), content(target)
    with pytest.raises(AlreadyExists, match="another vault"):
        copying.copy(source, target)
    assert (content(source), content(target)) == before
    opened(source)[1].store.close()
    opened(target)[1].store.close()


def test_a_target_with_records_of_something_else_is_left_alone(file, other_file):
    filled(file)
    store = other_file.open(create=True)
    store.swap("a", 0, Entry("x", b""))
    store.close()
    with pytest.raises(AlreadyExists):
        copying.copy(file, other_file)
    opened(file)[1].store.close()


def test_a_copy_in_use_is_not_written_over(file, other_file):
    filled(file)
    copying.copy(file, other_file)
    copying.reopen(file)
    before = content(other_file)
    with pytest.raises(AlreadyExists, match="in use"):
        copying.copy(file, other_file)
    assert content(other_file) == before


def test_a_vault_that_was_moved_is_not_moved_again(file, other_file, tmp_path):
    filled(file)
    copying.copy(file, other_file)
    with pytest.raises(VaultUnreadable) as refused:
        copying.copy(file, Place.of(tmp_path / "three.db"))
    assert refused.value.evidence["state"] == "moved"


def test_a_wrong_key_is_refused_before_the_target_is_made(file, other_file, tmp_path):
    filled(file)
    stranger = KeyFile.create(str(tmp_path / "stranger.key"))
    with pytest.raises(WrongKey):
        copying.copy(file, other_file, key_file=tmp_path / "stranger.key")
    assert stranger.key_id
    with pytest.raises(KeyMissing):
        copying.copy(file, other_file, key_file=tmp_path / "nowhere.key")
    assert not other_file.path.exists()


def test_a_key_of_another_vault_at_the_target_is_not_written_over(file, other_file):
    filled(file)
    other_file.path.parent.mkdir()
    stranger = KeyFile.create(str(other_file.path.with_suffix(".key"))).key_id
    with pytest.raises(AlreadyExists, match="key of another vault"):
        copying.copy(file, other_file)
    assert KeyFile.read(str(other_file.path.with_suffix(".key"))).key_id == stranger
    opened(file)[1].store.close()


def test_a_damaged_record_stops_the_copy_and_the_source_stays_in_use(file, other_file):
    filled(file)
    store = file.open(create=False)
    held = store.load("connection/acme/user005")
    store.swap("connection/acme/user005", held.version, Entry(held.state, held.box[:-1] + b"\0"))
    store.close()
    with pytest.raises(VaultDamaged, match="connection/acme/user005"):
        copying.copy(file, other_file)
    opened(file)[1].store.close()


def test_a_copy_that_differs_is_noticed_and_the_source_is_used_on(file, other_file, monkeypatch):
    filled(file)
    real = Bulk.put

    def careless(self, rows):
        real(self, [row._replace(due_at=1) if row.name.endswith("user007") else row for row in rows])

    monkeypatch.setattr(Bulk, "put", careless)
    with pytest.raises(VaultDamaged, match="not the same"):
        copying.copy(file, other_file)
    opened(file)[1].store.close()
    with pytest.raises(VaultUnreadable):
        opened(other_file)


def test_a_place_is_not_copied_onto_itself(file):
    filled(file)
    with pytest.raises(InvalidInput):
        copying.copy(file, Place.of(os.path.relpath(file.path)))
    opened(file)[1].store.close()


def test_where_there_is_no_vault_there_is_nothing_to_copy(file, other_file):
    with pytest.raises(VaultMissing):
        copying.copy(file, other_file)
    assert not other_file.path.exists()


# ── taking it back ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_move_can_be_taken_back(ways):
    source, target = ways
    filled(source)
    copying.copy(source, target)
    copying.reopen(source)
    _, world = opened(source)
    assert world.store.swap("gone", 0, Entry("x", b""))
    world.store.close()


def test_what_was_not_moved_is_not_taken_back(file):
    filled(file)
    with pytest.raises(InvalidInput):
        copying.reopen(file)


def test_a_frozen_store_is_thawed_by_nothing_else(file, other_file):
    filled(file)
    copying.copy(file, other_file)
    store = file.open(create=False)
    with bulk_of(store) as tables, pytest.raises(StoreUnavailable, match="moved"):
        tables.drop(["app/acme"])
    store.close()
