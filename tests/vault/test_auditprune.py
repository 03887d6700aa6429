"""Deleting the oldest lines: what is left is proven, whoever writes meanwhile and whenever the command is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import valetkey
from auditkit import Log, log_of
from keykit import kill_points
from valetkey.audit import pruning
from valetkey.audit.ledger import Query
from valetkey.audit.pruning import Pruned
from valetkey.effects import Event
from valetkey.errors import AuditBroken
from vaultprocs import forked


@pytest.fixture(params=["sqlite", "postgres"])
def log(request):
    return log_of(request, aged)


def aged(log):
    """Write chains: one of today and before (a), one of 100 days ago (b), one over 100 and 10 days (c), one of 10 (d)."""
    with log.writer() as audit:
        audit.note(Event("app.added", "a"))
    with log.writer(days_ago=100) as audit:
        for number in (2, 3):
            audit.note(Event("app.added", f"b{number}"))
    with log.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "c2"))
        for number in (3, 4):
            audit.tell(Event("token.handed_out", f"c{number}"))
        audit.flush()
        audit._clock = lambda: datetime.now(UTC) - timedelta(days=10)
        audit.note(Event("app.added", "c5"))
    with log.writer(days_ago=10) as audit:
        audit.note(Event("app.added", "d2"))
    return log


def days_ago(days):
    return datetime.now(UTC) - timedelta(days=days)


def subjects(log):
    store = log.store()
    lines = store.ledger.find(Query(), 1000)
    store.close()
    return [line.subject for line in lines if line.kind in {"app.added", "token.handed_out"}]


def prune(log, before, **how):
    with valetkey.open(log.where, create=False) as vault:
        return vault.audit.prune(before, **how)


def test_what_is_older_is_deleted_and_the_rest_is_proven(log):
    assert prune(log, days_ago(50)) == Pruned(7, 1)
    assert subjects(log) == ["a", "c5", "d2"]
    report = log.report()
    assert report.findings == ()
    chains = {chain.ordinal: (chain.pruned, chain.lines) for chain in report.chains}
    assert chains == {1: (0, 3), 3: (4, 1), 4: (0, 2), 5: (0, 3)}, "b is gone; the last is who pruned"


def test_it_is_said_before_and_after_in_the_log(log):
    moment = days_ago(50)
    prune(log, moment)
    store = log.store()
    before, after = store.ledger.find(Query(kind="audit.prune"), 5) or store.ledger.find(Query(subject="audit"), 2)
    store.close()
    assert (before.kind, before.outcome, after.kind) == ("audit.prune_started", "unknown", "audit.pruned")
    said = moment.isoformat(timespec="milliseconds")
    assert (before.detail, after.detail) == (
        {"before": said},
        {"before": said, "lines": "7", "writers": "1", "unchained": "0"},
    )


def test_pruning_again_deletes_nothing_and_says_nothing(log):
    prune(log, days_ago(50))
    lines = log.report().lines
    assert prune(log, days_ago(50)) == Pruned()
    assert log.report().lines == lines


def test_a_dry_run_counts_and_deletes_nothing(log):
    before = subjects(log)
    assert prune(log, days_ago(50), dry_run=True) == Pruned(7, 1)
    assert subjects(log) == before
    assert prune(log, days_ago(1000), dry_run=True) == Pruned()


def test_pruned_step_by_step_it_is_pruned_the_same(log, monkeypatch):
    monkeypatch.setattr(pruning, "STEP", 1)
    monkeypatch.setattr(pruning, "PAGE", 2)
    monkeypatch.setattr(pruning, "RETIRED_AT_ONCE", 1)
    assert prune(log, days_ago(5)) == Pruned(10, 3)
    assert subjects(log) == ["a"]
    assert log.found() == []


@pytest.mark.parametrize("subject", ["b3", "d2"])
def test_nothing_is_deleted_from_a_log_that_does_not_hold_among_old_lines_or_new(log, subject):
    log.sql("UPDATE {t}audit SET subject = 'x' WHERE subject = ?", subject)
    before = subjects(log)
    with pytest.raises(AuditBroken):
        prune(log, days_ago(50))
    assert subjects(log) == before


def test_a_line_of_the_very_moment_is_kept(log):
    store = log.store()
    moment = next(line.at for line in store.ledger.find(Query(), 1000) if line.subject == "c5")
    store.close()
    prune(log, moment)
    assert "c5" in subjects(log)
    prune(log, moment + timedelta(milliseconds=1))
    assert "c5" not in subjects(log)


def test_lines_are_deleted_up_to_one_with_a_signature(log):
    with log.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "e2"))
        audit.tell(Event("token.handed_out", "e3"))
        audit._clock = lambda: datetime.now(UTC)
        audit.tell(Event("token.handed_out", "e4"))
    prune(log, days_ago(50))
    assert subjects(log)[-2:] == ["e3", "e4"], "e3 shares a commit, and its signature, with e4"
    assert "e2" not in subjects(log)
    assert log.found() == []


def test_a_head_of_before_under_the_floor_of_now_is_named(log):
    with log.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "e2"))
        older = log.sql("SELECT number, box FROM {t}audit_heads WHERE writer = ?", audit.writer)[0]
        audit.note(Event("app.added", "e3"))
        audit._clock = lambda: datetime.now(UTC)
        audit.note(Event("app.added", "e4"))
    prune(log, days_ago(50))
    mine = f"WHERE writer = '{log.writers[4]}'"
    log.sql(f"DELETE FROM {{t}}audit {mine}")
    log.sql(f"UPDATE {{t}}audit_heads SET number = ?, box = ? {mine}", *older)
    assert log.found() == [("head_forged", log.writers[4], 2)]


def test_a_writer_that_lives_goes_on_where_it_was_or_in_a_chain_of_its_own(log):
    with valetkey.open(log.where) as busy, valetkey.open(log.where) as idle:
        for vault in (busy, idle):
            vault._world.audit._clock = lambda: days_ago(100)
            vault._world.audit.note(Event("app.added", "old"))
        busy._world.audit._clock = lambda: days_ago(1)
        busy._world.audit.note(Event("app.added", "busy"))
        was = [vault._world.audit.writer for vault in (busy, idle)]
        assert prune(log, days_ago(50)) == Pruned(7 + 2 + 2, 2)
        for vault in (busy, idle):
            vault._world.audit.note(Event("app.added", "new"))
        now = [vault._world.audit.writer for vault in (busy, idle)]
    assert (now[0], now[1] == was[1]) == (was[0], False)
    assert subjects(log)[-3:] == ["busy", "new", "new"]
    assert log.found() == []


def test_two_that_prune_at_once_delete_each_line_once(log):
    with valetkey.open(log.where) as one:
        real = one._world.audit.note

        def other_first(event):
            if event.kind == "audit.prune_started":
                forked(lambda: prune(log, days_ago(50)))
            real(event)

        one._world.audit.note = other_first
        assert one.audit.prune(days_ago(50)) == Pruned(0, 0)
    assert subjects(log) == ["a", "c5", "d2"]
    assert log.found() == []


# ── somebody changes what was pruned ─────────────────────────────────────────────────────────────────────────────


def test_what_was_pruned_cannot_be_put_back(log):
    kept = log.sql("SELECT * FROM {t}audit ORDER BY id")
    heads = log.sql("SELECT * FROM {t}audit_heads ORDER BY ordinal")
    prune(log, days_ago(50))
    for row in kept[5:8]:  # the first three of writer b: it is gone, and here again
        log.sql(f"INSERT INTO {{t}}audit VALUES ({', '.join('?' for _ in row)})", *row)
    row = next(row for row in heads if row[1] == 2)
    log.sql("INSERT INTO {t}audit_heads VALUES (?, ?, ?, ?, ?)", *row)
    assert ("stray", "b") in [found[:2] for found in log.found()]


def test_a_line_under_the_floor_is_named(log):
    kept = log.sql("SELECT * FROM {t}audit WHERE subject = 'c2'")[0]
    prune(log, days_ago(50))
    log.sql(f"INSERT INTO {{t}}audit VALUES ({', '.join('?' for _ in kept)})", *kept)
    assert log.found() == [("inserted", "c", 2)]


def test_more_than_was_pruned_cannot_be_deleted(log):
    prune(log, days_ago(50))
    log.sql("DELETE FROM {t}audit WHERE subject = 'c5'")
    assert log.found() == [("tail_cut", "c", 5)]


# ── killed in between ────────────────────────────────────────────────────────────────────────────────────────────

CHILD = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
steps = int(sys.argv[2])
def step():
    global steps
    steps -= 1
    if steps < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def before_and_after(owner, name):
    real = getattr(owner, name)
    def wrapped(self, *a):
        changes = name != "_do" or a[1].split()[0] != "SELECT"
        changes and step()
        done = real(self, *a)
        changes and step()
        return done
    setattr(owner, name, wrapped)
import valetkey
from valetkey.audit import pruning
from valetkey.vault.stores.ledger import SqlLedger
where = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
vault = valetkey.open(where, create=False)
for name in ("_do", "append", "enroll", "cut", "retire", "cut_unchained"):
    before_and_after(SqlLedger, name)
pruning.STEP, pruning.RETIRED_AT_ONCE = 1, 1
vault.audit.prune(datetime.fromisoformat(sys.argv[3]))
vault.close()
"""


def killed_at(step, log, moment):
    command = [sys.executable, "-c", CHILD, str(log.where), str(step), moment.isoformat()]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, check=False, capture_output=True, timeout=120)
    assert done.returncode in {0, -9}, done.stderr.decode()
    return done.returncode


KEPT = ["a", "c5", "d2"]


def test_killed_again_and_again_it_comes_to_its_end_and_the_log_holds_each_time(log):
    moment = days_ago(50)
    for step in kill_points():
        code = killed_at(step, log, moment)
        assert log.found() == []
        left = subjects(log)
        assert [subject for subject in left if subject in KEPT] == KEPT
        if code == 0:
            break
    else:
        pytest.fail("the command never came to its end")
    assert left == KEPT
    assert step > 10


@pytest.mark.slow
def test_killed_at_any_step_the_log_holds_and_the_same_command_goes_on(tmp_path):
    log = aged(Log(tmp_path / "vault.db"))
    files = {file: file.read_bytes() for file in tmp_path.glob("vault.db*")}
    for step in kill_points(400):
        for file in tmp_path.glob("vault.db*"):
            file.unlink()
        for file, data in files.items():
            file.write_bytes(data)
            file.chmod(0o600)
        code = killed_at(step, log, days_ago(50))
        assert log.found() == []
        assert [subject for subject in subjects(log) if subject in KEPT] == KEPT
        prune(log, days_ago(50))
        assert subjects(log) == KEPT
        assert log.found() == []
        if code == 0:
            break
    else:
        pytest.fail("the command never came to its end")
    assert step > 20
