"""Somebody who can write the database, and has no key, changes the audit log: the first broken place is named."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

import valetkey
from auditkit import Log, log_of
from valetkey.audit import verifying
from valetkey.audit.chain import hash_of, link_of
from valetkey.audit.following import Window
from valetkey.audit.ledger import Query
from valetkey.audit.report import REASONS
from valetkey.effects import Event
from valetkey.errors import AuditBroken, VaultDamaged
from valetkey.vault import names
from valetkey.vault.auditlog import Audit
from vaultprocs import note_events, together

B = "UPDATE {t}audit SET"


@pytest.fixture(params=["sqlite", "postgres"])
def log(request):
    return log_of(request, Log.filled)


def at(log, number, writer=1):
    return f" WHERE writer = '{log.writers[writer]}' AND number = {number}"


# ── a whole log ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_log_that_nobody_changed_holds(log):
    with valetkey.open(log.where) as vault:
        report = Audit(vault._world).verify()
        asked = asyncio.run(valetkey.AsyncVault(vault).audit.verify())
    assert [(chain.ordinal, chain.lines) for chain in report.chains] == [(1, 3), (2, 7), (3, 4)]
    assert (report.findings, report.lines, report.unchained) == ((), 14, 0)
    assert report.first <= report.last
    assert asked == report


def test_looking_writes_nothing(log):
    before = log.sql("SELECT count(*) FROM {t}audit"), log.sql("SELECT box FROM {t}audit_heads ORDER BY ordinal")
    assert log.report().findings == ()
    assert (
        log.sql("SELECT count(*) FROM {t}audit"),
        log.sql("SELECT box FROM {t}audit_heads ORDER BY ordinal"),
    ) == before


def test_an_empty_vault_has_an_empty_log_that_holds(tmp_path):
    valetkey.open(tmp_path / "other.db").close()
    assert Log(tmp_path / "other.db").report().lines == 2, "the vault was made by somebody"


def test_pages_of_two_lines_hold_as_pages_of_a_thousand(log, monkeypatch):
    monkeypatch.setattr(verifying, "PAGE", 2)
    assert log.report().findings == ()


# ── a line ───────────────────────────────────────────────────────────────────────────────────────────────────────

EDITS = {
    "at": "at = at + 1",
    "at_absurd": "at = 9000000000000000000",
    "actor": "actor = 'cli:mallory'",
    "kind": "kind = 'app.removed'",
    "subject": "subject = 'somebody/else'",
    "outcome": "outcome = 'failed'",
    "reason": "reason = ''",
    "detail": """detail = '{"n":"5"}'""",
    "detail_number": """detail = '{"n":4}'""",
    "detail_twice": """detail = '{"n":"9","n":"4"}'""",
    "detail_array": """detail = '[["n","4"]]'""",
    "detail_no_json": "detail = 'x'",
    "request": "request = 'r-1'",
    "fingerprint": "fingerprint = 'other'",
    "hash": "hash = signature",
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_a_line_that_was_edited_is_named(log, change):
    log.sql(f"{B} {change}{at(log, 4)}")
    assert log.found() == [("edited", "b", 4)]


def test_a_signature_that_was_changed_is_named_and_one_that_was_taken_away_by_the_line_behind(log):
    other = log.sql(f"SELECT signature FROM {{t}}audit{at(log, 6)}")[0][0]
    log.sql(f"{B} signature = ?{at(log, 2)}", other)
    assert log.found() == [("edited", "b", 2)]
    log.sql(f"{B} signature = hash{at(log, 2, 2)}")
    log.sql(f"{B} signature = ?{at(log, 2)}", b"")
    assert log.found() == [("edited", "b", 3), ("edited", "c", 2)]


def test_the_last_signature_of_a_chain_cannot_be_taken_away(log):
    log.sql(f"{B} signature = ?{at(log, 7)}", b"")
    assert log.found() == [("edited", "b", 7)]


def test_hashes_that_were_made_anew_behind_an_edit_lead_to_no_signature(log):
    log.sql(f"{B} subject = 'x'{at(log, 4)}")
    store = log.store()
    link = b""
    for line in store.ledger.chain(log.writers[1], 0, 10):
        hashed = line.hash if line.number < 4 else hash_of(link, line)
        link = link_of(hashed, b"" if line.number >= 4 else line.signature)
        if line.number >= 4:
            log.sql(f"{B} hash = ?, signature = ?{at(log, line.number)}", hashed, b"")
    store.close()
    assert log.found() == [("edited", "b", 3)], "line 3 is the first that no signature holds"


def test_a_line_that_was_given_to_another_writer_is_missed_and_found(log):
    log.sql(f"{B} writer = 'other'{at(log, 4)}")
    assert log.found() == [("stray", "other", 4), ("removed", "b", 4)]


def test_a_line_that_was_taken_out_of_its_chain_is_missed_and_found(log):
    log.sql(f"{B} number = 0{at(log, 4)}")
    assert log.found() == [("unchained", "b", 0), ("removed", "b", 4)]


def test_a_line_with_another_number_is_missed(log):
    log.sql(f"{B} number = 40{at(log, 4)}")
    assert log.found() == [("removed", "b", 4)]


def test_a_line_that_is_shown_elsewhere_or_nowhere_is_named(log):
    log.sql(f"{B} id = 1000{at(log, 4)}")
    assert log.found() == [("reordered", "b", 5)]
    log.sql(f"{B} id = -id{at(log, 4)}")
    assert log.found() == [("reordered", "b", 4)]


def test_a_line_that_was_deleted_is_named(log):
    log.sql(f"DELETE FROM {{t}}audit{at(log, 4)}")
    assert log.found() == [("removed", "b", 4)]


def test_a_line_that_was_deleted_and_the_rest_renumbered_is_named(log):
    log.sql(f"DELETE FROM {{t}}audit{at(log, 3)}")
    for number in (4, 5, 6, 7):
        log.sql(f"{B} number = {number - 1}{at(log, number)}")
    assert log.found() == [("removed", "b", 3)]


@pytest.mark.parametrize(("one", "other"), [(3, 4), (2, 6), (6, 7)])
def test_two_lines_that_were_swapped_are_named(log, one, other):
    log.sql(f"{B} number = 99{at(log, one)}")
    log.sql(f"{B} number = {one}{at(log, other)}")
    log.sql(f"{B} number = {other}{at(log, 99)}")
    assert log.found() == [("reordered", "b", one)]


COLUMNS = "at, actor, kind, subject, outcome, reason, detail, request, fingerprint, hash, signature"


def copy(log, number, to, writer=None):
    where, writer = at(log, number), writer or log.writers[1]
    highest = log.sql("SELECT max(id) FROM {t}audit")[0][0]
    log.sql(
        f"INSERT INTO {{t}}audit (id, writer, number, {COLUMNS})"
        f" SELECT {highest + 1}, '{writer}', {to}, {COLUMNS} FROM {{t}}audit{where}"
    )


def test_a_line_that_was_copied_to_the_end_is_named(log):
    copy(log, 7, 8)
    assert log.found() == [("inserted", "b", 8)]


def test_a_line_that_was_copied_into_the_middle_is_named(log):
    for number in (7, 6, 5, 4):
        log.sql(f"{B} number = {number + 1}{at(log, number)}")
    copy(log, 2, 4)
    assert log.found() == [("inserted", "b", 4)]


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_a_line_that_stands_there_twice_is_named(log, monkeypatch, page):
    monkeypatch.setattr(verifying, "PAGE", page)
    log.sql("DROP INDEX {t}audit_chain")
    copy(log, 3, 3)
    assert log.found() == [("inserted", "b", 3)]


def test_a_line_of_a_writer_that_nobody_knows_is_named(log):
    copy(log, 4, 1, "zz")
    assert log.found() == [("stray", "zz", 1)]


def test_a_line_without_a_writer_is_named(log):
    log.sql(f"{B} writer = ''{at(log, 7)}")
    assert log.found() == [("stray", "", 7), ("tail_cut", "b", 7)]


def test_a_line_that_is_put_beside_all_chains_is_named(log):
    log.sql(
        "INSERT INTO {t}audit (id, at, actor, kind, subject, outcome, reason, detail)"
        " VALUES (-7, 0, 'cli:me', 'app.added', 'x', 'ok', '', '{}')"
    )
    assert log.found() == [("unchained", "", 0)]


# ── an end ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", [2, 4, 7])
def test_a_tail_that_was_cut_is_named(log, first):
    log.sql(f"DELETE FROM {{t}}audit WHERE writer = '{log.writers[1]}' AND number >= {first}")
    assert log.found() == [("tail_cut", "b", first)]


def test_a_tail_that_was_cut_and_a_head_that_says_so_are_named(log):
    log.sql(f"DELETE FROM {{t}}audit WHERE writer = '{log.writers[1]}' AND number >= 6")
    log.sql(f"UPDATE {{t}}audit_heads SET number = 5 WHERE writer = '{log.writers[1]}'")
    assert log.found() == [("head_forged", "b", 5)]


@pytest.mark.parametrize("column", ["box", "floor"])
def test_a_head_with_what_belongs_elsewhere_is_named(log, column):
    taken = log.sql(f"SELECT {column} FROM {{t}}audit_heads WHERE writer = '{log.writers[0]}'")[0][0]
    log.sql(f"UPDATE {{t}}audit_heads SET {column} = ? WHERE writer = '{log.writers[1]}'", taken)
    assert log.found() == [("head_forged", "b", 7)]


def test_lines_that_were_cut_and_a_floor_made_of_the_head_are_named(log):
    mine = f"WHERE writer = '{log.writers[1]}'"
    log.sql(f"DELETE FROM {{t}}audit {mine}")
    log.sql(f"UPDATE {{t}}audit_heads SET floor = box {mine}")
    assert log.found() == [("head_forged", "b", 7)]


# ── a writer ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_writer_that_is_gone_with_its_head_is_missed(log):
    log.sql(f"DELETE FROM {{t}}audit WHERE writer = '{log.writers[1]}'")
    log.sql(f"DELETE FROM {{t}}audit_heads WHERE writer = '{log.writers[1]}'")
    report = log.report()
    assert [(one.reason, one.ordinal) for one in report.findings] == [("writer_missing", 2)]


def test_a_writer_whose_lines_are_gone_is_missed(log):
    log.sql(f"DELETE FROM {{t}}audit WHERE writer = '{log.writers[1]}'")
    assert log.found() == [("tail_cut", "b", 1)]


def test_a_writer_whose_head_is_gone_is_missed_and_its_lines_are_found(log):
    log.sql(f"DELETE FROM {{t}}audit_heads WHERE writer = '{log.writers[1]}'")
    assert log.found() == [("stray", "b", 1), ("writer_missing", "", 0)]


def test_a_writer_with_another_place_among_the_writers_is_named(log):
    log.sql(f"UPDATE {{t}}audit_heads SET ordinal = 3 WHERE writer = '{log.writers[1]}'")
    assert ("head_forged", "b", 7) in log.found()


# ── the roster and the key ───────────────────────────────────────────────────────────────────────────────────────


def test_a_roster_that_is_gone_is_missed(log):
    log.sql("DELETE FROM {t}audit_heads WHERE writer = ''")
    assert log.found() == [("roster_missing", "", 0)]


def test_a_log_that_is_gone_whole_is_missed(log):
    log.sql("DELETE FROM {t}audit_heads")
    log.sql("DELETE FROM {t}audit")
    assert log.found() == [("roster_missing", "", 0)]


@pytest.mark.parametrize("change", ["number = number - 1", "box = floor"])
def test_a_roster_that_was_edited_is_named(log, change):
    log.sql(f"UPDATE {{t}}audit_heads SET {change} WHERE writer = ''")
    assert log.found() == [("roster_forged", "", 0)]


def test_a_roster_that_is_an_older_one_is_named(log):
    (number, box), *_ = log.sql("SELECT number, box FROM {t}audit_heads WHERE writer = ''")
    with log.writer() as audit:
        audit.note(Event("app.added", "d"))
    log.sql("UPDATE {t}audit_heads SET number = ?, box = ? WHERE writer = ''", number, box)
    assert log.found() == [("roster_rolled_back", log.writers[3], 0)]
    with log.writer() as audit:
        audit.note(Event("app.added", "e"))  # who is counted by it takes the place of one that is there
    assert [found[0] for found in log.found()] == ["roster_rolled_back"]


def test_a_key_that_is_gone_is_missed(log):
    log.sql("DELETE FROM {t}records WHERE name = ?", names.AUDIT_KEY)
    assert log.found() == [("key_missing", "", 0)]
    with pytest.raises(VaultDamaged, match="key is gone"), log.writer() as audit:
        audit.note(Event("app.added", "d"))
    assert log.found() == [("key_missing", "", 0)], "and no other is made in its place"


# ── what is said of it ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_error_names_the_first_place_by_a_word_for_programs(log):
    log.sql(f"DELETE FROM {{t}}audit{at(log, 4)}")
    log.sql(f"{B} subject = 'x'{at(log, 2, 2)}")
    with valetkey.open(log.where) as vault, pytest.raises(AuditBroken, match="line 4") as caught:
        vault.audit.verify()
    told = caught.value.to_dict()
    assert (told["code"], caught.value.exit_code) == ("audit_broken", 7)
    facts = told["evidence"]
    assert (facts["reason"], facts["writer"], facts["number"], facts["places"]) == ("removed", log.writers[1], 4, 2)
    assert caught.value.cause.startswith(REASONS["removed"])


# ── while others write ───────────────────────────────────────────────────────────────────────────────────────────


def test_processes_that_write_at_once_keep_chains_that_hold_at_every_moment(log):
    ended, looked = threading.Event(), []

    def look():
        with valetkey.open(log.where) as vault:
            while not ended.is_set():
                looked.append(vault.audit.examine())

    looker = threading.Thread(target=look)
    looker.start()
    try:
        writers = together(2, note_events, str(log.where), 60)
    finally:
        ended.set()
        looker.join()
    assert [report.findings for report in looked] == [()] * len(looked)
    assert looked
    lines = {chain.writer: chain.lines for chain in log.report().chains}
    assert [lines[writer] for writer in writers] == [61, 61]
    assert log.found() == []


KILLED = """
import sys
from valetkey.effects import Event
from valetkey.vault.opening import open_world
_, world = open_world(sys.argv[1], transport=lambda: None)
number = 0
while True:
    number += 1
    world.audit.tell(Event("token.handed_out", "acme/a"))
    world.audit.note(Event("app.added", f"a{number}"))
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_leaves_a_chain_that_holds_with_all_it_was_told_of(log):
    for rounds in (1, 5, 20):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen([sys.executable, "-c", KILLED, str(log.where)], stdout=subprocess.PIPE, env=env) as child:
            said = [child.stdout.readline() for _ in range(rounds)]
            child.send_signal(signal.SIGKILL)
            said += child.stdout.readlines()
        report = log.report()
        assert report.findings == ()
        assert report.chains[-1].lines >= 1 + 2 * len([word for word in said if word.endswith(b"\n")])


# ── following ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_follows_sees_each_line_of_another_process_once(log):
    stop, seen = threading.Event(), []
    with valetkey.open(log.where) as vault:
        last = vault.events(2)
        vault._world.audit.note(Event("app.added", "e1"))
        for line in vault.audit.follow(last, stop=stop, every=0.01):
            seen.append((line.kind, line.subject))
            if line.subject == "e1":
                with log.writer() as audit:
                    audit.note(Event("app.added", "e2"))
            if line.subject == "e2":
                vault._world.audit.note(Event("app.added", "e3"))
            if line.subject == "e3":
                stop.set()
    begun = ("audit.begun", "audit")
    assert seen == [begun, *(("app.added", name) for name in ("e1",)), begun, ("app.added", "e2"), ("app.added", "e3")]


def test_a_line_that_is_committed_after_one_with_a_higher_id_is_seen(postgres):
    import psycopg

    log = Log(postgres).filled()
    insert = (
        "INSERT INTO valetkey_audit (at, actor, kind, subject, outcome, reason, detail)"
        " VALUES (0, 'cli:me', 'app.added', 'late', 'ok', '', '{}')"
    )
    store = log.store()
    window = Window(store.ledger.find(Query(), 3))
    with psycopg.connect(postgres) as late:
        late.execute(insert)  # it has its id, and is not committed
        with log.writer() as audit:
            audit.note(Event("app.added", "early"))
        assert [line.subject for line in window.fresh(store.ledger)] == ["audit", "early"]
        late.commit()
    assert [line.subject for line in window.fresh(store.ledger)] == ["late"]
    assert list(window.fresh(store.ledger)) == []
    store.close()
