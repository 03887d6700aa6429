"""What the short way to a token hands out is in the audit log as soon as anybody writes there: once, and never lost."""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from datetime import UTC, datetime

import pytest

from valetkey.audit.ledger import Query
from valetkey.effects import Event
from valetkey.errors import StoreUnavailable
from valetkey.transport.sync import Transport
from valetkey.values import Secret
from valetkey.vault import quick, spool, taken
from valetkey.vault.copying import copy
from valetkey.vault.keyring import Keyring
from valetkey.vault.opening import open_world
from valetkey.vault.places import Place
from valetkey.vault.quick import quick_token
from valetkey.vault.spool import fingerprint, hand_out, spool_beside
from vaultkit import START, a_connection
from vaultprocs import forked

RECORD = "connection/acme/alice"
T0 = START.timestamp()
NOTHING = Event("app.added", "acme")


class Vault:
    """A vault with one connection, at a time when its token is fresh."""

    def __init__(self, path, monkeypatch):
        self.path, self.key = path, path.with_suffix(".key")
        self.desk, self.world = open_world(path, transport=Transport)
        assert self.world.store.swap(RECORD, 0, self.desk.seal_connection(a_connection(), T0))
        monkeypatch.setattr(quick.time, "time", lambda: T0 + 1.25)

    def quick(self):
        return quick_token("acme/alice", str(self.path), str(self.key))

    @property
    def spool(self):
        return self.path.with_suffix(".spool")

    def handed(self):
        return self.world.store.ledger.find(Query(kind="token.handed_out"), 10_000)

    def left(self):
        return [file for file in self.path.parent.iterdir() if ".spool" in file.name]


@pytest.fixture
def vault(tmp_path, monkeypatch):
    made = Vault(tmp_path / "vault.db", monkeypatch)
    yield made
    made.world.audit.close()
    made.world.close()


def test_what_was_handed_out_is_in_the_log_with_the_next_line_and_the_spool_is_gone(vault):
    assert [vault.quick(), vault.quick()] == ["access-1", "access-1"]
    assert vault.handed() == []
    vault.world.audit.note(NOTHING)
    first, second = vault.handed()
    assert (first.subject, first.outcome, first.fingerprint) == ("acme/alice", "ok", Secret("access-1").fingerprint())
    assert first.detail["handed_out_at"] == "2026-03-01T12:00:01.250+00:00"
    assert first.detail["pid"] == str(os.getpid())
    assert first.actor.startswith("cli:")
    assert first.actor.partition(":")[2] == vault.world.audit.actor.partition(":")[2]
    assert first.detail["spool_id"] != second.detail["spool_id"]
    assert first.at > datetime(2026, 3, 2, tzinfo=UTC), "the line itself says when it was taken in"
    assert vault.left() == []
    vault.world.audit.note(NOTHING)
    assert len(vault.handed()) == 2


def test_who_looks_at_the_log_finds_it_there(vault):
    vault.quick()
    assert vault.world.audit.flush()
    assert len(vault.handed()) == 1


def test_the_spool_is_its_owners_alone_and_holds_no_token(vault, canary):
    token = canary.make("token")
    before = os.umask(0)
    try:
        assert hand_out(str(vault.path), vault.desk.sealer, "acme/alice", token, T0)
    finally:
        os.umask(before)
    assert stat.S_IMODE(vault.spool.stat().st_mode) == 0o600 or os.name != "posix"
    canary.assert_absent(vault.spool)
    (line,) = vault.spool.read_bytes().split()
    canary.assert_absent(str(spool.opened(vault.desk.sealer, spool.box_of(line))))
    assert b"acme" not in vault.spool.read_bytes()


@pytest.mark.parametrize("token", ["access-1", "ä日", "x" * 5000])
def test_the_fingerprint_is_the_one_of_a_secret(token):
    assert fingerprint(token) == Secret(token).fingerprint()


# ── what cannot be written down is not handed out by the short way ───────────────────────────────────────────────


@pytest.mark.parametrize("what", ["a folder", "a link", "full"])
def test_a_spool_that_cannot_be_written_leaves_it_to_the_long_way(vault, tmp_path, what):
    if what == "a folder":
        vault.spool.mkdir()
    elif what == "a link":
        vault.spool.symlink_to(tmp_path / "elsewhere")
    else:
        vault.spool.write_bytes(b"\n" * spool.MOST)
    assert vault.quick() is None
    assert not (tmp_path / "elsewhere").exists()


def test_a_spool_that_was_full_is_taken_in_by_the_long_way_and_the_short_one_goes_on(vault, monkeypatch):
    monkeypatch.setattr(spool, "MOST", 300)
    while vault.quick() is not None:
        pass
    vault.world.audit.tell(Event("token.handed_out", "acme/alice", detail={"fingerprint": "f"}))
    assert vault.world.audit.flush()
    assert len(vault.handed()) >= 2
    assert vault.quick() == "access-1"


def test_a_full_disk_leaves_it_to_the_long_way_and_glues_no_lines(vault, monkeypatch):
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(spool.os, "write", lambda file, data: write(file, data[:20]))
        assert vault.quick() is None
    assert vault.quick() == "access-1"
    vault.world.audit.note(NOTHING)
    assert len(vault.handed()) == 1
    (cut,) = vault.world.store.ledger.find(Query(kind="audit.garbled"), 10)
    assert (cut.outcome, cut.reason, cut.detail) == ("failed", "spool_damaged", {"count": "1"})


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root uses files of others")
def test_root_leaves_no_spool_that_the_vaults_owner_could_not_use(vault):
    os.chown(vault.path, 1, 1)
    assert vault.quick() is None
    assert vault.left() == []


# ── once, and never lost ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_record_that_was_appended_while_the_spool_was_taken_is_appended_again(vault, monkeypatch):
    write, done = os.write, []

    def late(file, data):
        if not done:
            done.append(vault.spool.rename(vault.spool.with_name("vault.spool.taken")))
        return write(file, data)

    monkeypatch.setattr(spool.os, "write", late)
    assert vault.quick() == "access-1"
    assert vault.spool.read_bytes() == done[0].read_bytes(), "whoever took it may have read it before; the id tells"


def test_what_somebody_took_and_died_over_is_taken_in_a_minute_later(vault, monkeypatch):
    vault.quick()
    vault.spool.rename(vault.spool.with_name("vault.spool.0123456789ab"))
    _, other = open_world(vault.path, transport=Transport)
    other.audit.note(NOTHING)
    assert vault.handed() == [], "who took it may be alive"
    monkeypatch.setattr(taken, "STALE_SECONDS", -1e12)
    _, third = open_world(vault.path, transport=Transport)
    third.audit.note(NOTHING)
    assert len(vault.handed()) == 1
    assert vault.left() == []
    for world in (other, third):
        world.close()


def test_a_log_that_is_down_keeps_it_and_an_answer_that_was_lost_writes_it_once(vault, monkeypatch):
    vault.quick()
    ledger = vault.world.store.ledger
    append = type(ledger).append

    def down(*_):
        raise StoreUnavailable("the disk is full")

    def lost(self, *facts):
        append(self, *facts)
        down()

    for failing in (down, lost):
        with monkeypatch.context() as failed:
            failed.setattr(type(ledger), "append", failing)
            with pytest.raises(StoreUnavailable):
                vault.world.audit.note(NOTHING)
        vault.quick()
    assert vault.world.audit.flush()
    vault.world.audit.note(NOTHING)
    assert Counter(line.detail["spool_id"] for line in vault.handed()).most_common(1)[0][1] == 1
    assert len(vault.handed()) == 3
    assert vault.left() == []


def test_many_who_hand_out_and_many_who_take_in_lose_none(vault):
    worlds = [open_world(vault.path, transport=Transport)[1] for _ in range(3)]
    end, given = threading.Event(), []

    def asks():
        given.extend(vault.quick() for _ in range(60))

    def takes(world):
        while not end.is_set():
            world.audit.flush()

    askers = [threading.Thread(target=asks) for _ in range(4)]
    takers = [threading.Thread(target=takes, args=(world,)) for world in worlds]
    for thread in askers + takers:
        thread.start()
    for thread in askers:
        thread.join()
    end.set()
    for thread in takers:
        thread.join()
    assert vault.world.audit.flush()
    ids = {line.detail["spool_id"] for line in vault.handed()}
    # Who gave up after five appends that were overtaken has written, and left the token to the long way.
    assert len(ids) >= len([token for token in given if token]) > 0
    assert vault.left() == []
    for world in worlds:
        world.close()


def test_a_record_that_stands_there_twice_is_written_once(vault):
    vault.quick()
    vault.spool.write_bytes(vault.spool.read_bytes() * 2)
    vault.world.audit.note(NOTHING)
    assert len(vault.handed()) == 1


@pytest.mark.parametrize("line", [b"!", b"AAAA", b"A" * 200, b"\xff" * 40], ids=["word", "short", "long", "bytes"])
def test_what_does_not_open_is_counted(vault, line):
    vault.quick()
    with vault.spool.open("ab") as file:
        file.write(line)
    vault.world.audit.note(NOTHING)
    assert len(vault.handed()) == 1
    (told,) = vault.world.store.ledger.find(Query(kind="audit.garbled"), 10)
    assert told.detail == {"count": "1"}


def test_a_key_that_was_made_while_this_process_ran_is_learned(vault):
    _, other = open_world(vault.path, transport=Transport)
    other.keys.renew()
    entry = other.store.load(RECORD)
    assert other.store.swap(RECORD, entry.version, entry)
    assert vault.quick() == "access-1"
    vault.world.audit.note(NOTHING)
    assert len(vault.handed()) == 1
    other.close()


def test_another_vaults_records_are_none_of_this_one(vault):
    assert hand_out(str(vault.path), Keyring.create(T0).sealer(), "acme/mallory", "x" * 20, T0)
    vault.world.audit.note(NOTHING)
    assert vault.handed() == []
    assert len(vault.world.store.ledger.find(Query(kind="audit.garbled"), 10)) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_a_forked_child_leaves_its_parents_spool_to_it(vault, monkeypatch):
    ledger = vault.world.store.ledger

    def down(*_):
        raise StoreUnavailable("the disk is full")

    vault.quick()
    with monkeypatch.context() as failed:
        failed.setattr(type(ledger), "append", down)
        assert not vault.world.audit.flush()

    def child():
        _, world = open_world(vault.path, transport=Transport)
        vault.world.audit.forked()
        taken_in = vault.world.audit._late.take(datetime.now(UTC))
        world.close()
        return len(taken_in)

    assert forked(child) == "0"
    assert vault.world.audit.flush()
    assert len(vault.handed()) == 1


def test_it_goes_along_when_the_vault_is_moved(vault, tmp_path):
    vault.quick()
    copy(Place(path=vault.path), Place(path=tmp_path / "new.db"))
    _, there = open_world(tmp_path / "new.db", transport=Transport)
    assert [line.subject for line in there.store.ledger.find(Query(kind="token.handed_out"), 10)] == ["acme/alice"]
    there.close()
    assert vault.left() == []


def test_a_vault_with_a_strange_name_has_its_spool_beside_it():
    assert spool_beside("/tmp/a.b/vault") == "/tmp/a.b/vault.spool"
    assert spool_beside("/tmp/a.b/my.vault.db") == "/tmp/a.b/my.vault.spool"
