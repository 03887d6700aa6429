"""The audit log of a vault that was moved, backed up, restored, resealed, or lies in a KV engine: it holds all the same."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

import valetkey
from auditkit import Log
from valetkey.audit.pruning import Pruned
from valetkey.effects import Event
from valetkey.transport.sync import Transport
from valetkey.vault import backup
from valetkey.vault.copying import copy, reopen
from valetkey.vault.opening import open_world
from valetkey.vault.places import Place
from valetkey.vault.reseal import reseal
from valetkey.vault.stores.hashicorp import SCHEME


def days_ago(days):
    return datetime.now(UTC) - timedelta(days=days)


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "vault.db").filled()
    with made.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "old"))
    with valetkey.open(made.where) as vault:
        assert vault.audit.prune(days_ago(50)) == Pruned(2, 1)
    return made


def test_a_log_that_was_moved_to_postgres_and_back_holds_in_both_places(log, postgres, tmp_path):
    copy(Place.of(log.where), Place.of(postgres))
    moved = Log(postgres)
    assert moved.found() == []
    with moved.writer() as audit:
        audit.note(Event("app.added", "there"))
    copy(Place.of(postgres), Place.of(tmp_path / "back.db"))
    assert Log(tmp_path / "back.db").found() == []


def test_a_log_whose_vault_is_used_again_after_a_move_holds(log, postgres):
    copy(Place.of(log.where), Place.of(postgres))
    reopen(Place.of(log.where))
    assert log.found() == []


def test_a_log_out_of_a_backup_holds_and_an_export_of_later_shows_that_it_is_one(log, tmp_path):
    place = Place.of(log.where)
    backup.backup(place, tmp_path / "backup")
    with log.writer() as audit:
        audit.note(Event("app.added", "after the backup"))
    with valetkey.open(log.where) as vault:
        vault.audit.export(tmp_path / "log.jsonl")
    backup.restore(tmp_path / "backup", place)
    with valetkey.open(log.where) as vault:
        assert vault.audit.examine().findings == ()
        found = vault.audit.examine_against(tmp_path / "log.jsonl").findings
    assert {one.reason for one in found} == {"rolled_back"}


def test_a_log_holds_when_the_data_keys_were_changed(log):
    desk, world = open_world(log.where, transport=Transport)
    reseal(desk, world)
    world.close()
    assert log.found() == []


# ── in a KV engine ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def engine(reached, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", reached.address)
    monkeypatch.setenv("VAULT_TOKEN", reached.token)
    return Log(SCHEME + reached.folder).filled()


@pytest.mark.network
def test_a_log_in_a_kv_engine_is_proven_exported_and_pruned(engine, tmp_path):
    with engine.writer(days_ago=100) as audit:
        for number in range(130):
            audit.note(Event("app.added", f"d{number}"))
    assert engine.found() == []
    with valetkey.open(engine.where) as vault:
        assert vault.audit.export(tmp_path / "log.jsonl").lines == 14 + 131
        assert vault.audit.prune(days_ago(50)) == Pruned(131, 1)
        assert vault.audit.examine_against(tmp_path / "log.jsonl").findings == ()
        assert vault.audit.examine().lines == 14 + 3
        assert [line.kind for line in vault.events(2)] == ["audit.prune_started", "audit.pruned"]


@pytest.mark.network
def test_what_somebody_changes_in_a_kv_engine_is_named(engine):
    store = engine.store()
    key = f"audit-heads/{engine.writers[1]}"
    held, version = store._read(key)
    lines = [dict(line) for line in held["lines"]]
    lines[3]["subject"] = "x"
    assert store._write(key, {**held, "lines": lines}, version)
    assert engine.found() == [("edited", "b", 4)]
    assert store._write(key, {**held, "lines": held["lines"][:-1]}, version + 1)
    assert engine.found() == [("tail_cut", "b", 7)]
    assert store._write(key, {**held, "lines": [*held["lines"][:3], "no line", *held["lines"][4:]]}, version + 2)
    assert engine.found() == [("removed", "b", 4)]
    assert store._write(key, {}, version + 3)
    assert [one.reason for one in engine.report().findings] == ["writer_missing"]
    store.close()


# ── all at once ──────────────────────────────────────────────────────────────────────────────────────────────────


class Crowd:
    """Do things to one log on threads of their own, some until all others are done."""

    def __init__(self, log):
        self.log = log
        self.ended = threading.Event()
        self.failures = []
        self.looked = []

    def write(self, vault, name):
        audit = vault._world.audit
        for number in range(40):
            audit._clock = lambda number=number: days_ago(100 if number % 3 else 1)
            audit.note(Event("app.added", f"{name}{number}"))

    def prune(self, vault):
        while not self.ended.is_set():
            vault.audit.prune(days_ago(50))

    def look(self, vault):
        while not self.ended.is_set():
            self.looked.append(vault.audit.examine().findings)

    def begun(self, work, *facts):
        def kept():
            try:
                with valetkey.open(self.log.where) as vault:
                    work(vault, *facts)
            except BaseException as failure:  # noqa: BLE001  # told by the main thread
                self.failures.append(failure)

        thread = threading.Thread(target=kept)
        thread.start()
        return thread


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_who_writes_prunes_and_looks_at_once_harms_nobody(request, tmp_path, where):
    log = Log(tmp_path / "vault.db" if where == "sqlite" else request.getfixturevalue("postgres")).filled()
    crowd = Crowd(log)
    others = [crowd.begun(crowd.prune), crowd.begun(crowd.look)]
    for thread in [crowd.begun(crowd.write, name) for name in ("x", "y")]:
        thread.join()
    crowd.ended.set()
    for thread in others:
        thread.join()
    assert (crowd.failures, set(crowd.looked)) == ([], {()})
    assert log.found() == []
    store = log.store()
    there = {line.subject for head in store.ledger.heads()[1:] for line in store.ledger.chain(head.writer, 0, 1000)}
    store.close()
    assert {f"{name}{number}" for name in "xy" for number in range(0, 40, 3)} <= there
