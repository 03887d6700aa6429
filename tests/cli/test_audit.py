"""`valetkey audit`: what it shows of the log, and how it says that the log was changed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime

import pytest

from auditkit import Log
from valetkey.cli.auditlines import moment_of
from valetkey.effects import Event


@pytest.fixture
def log(home, tmp_path, monkeypatch):
    made = Log(tmp_path / "vault.db").filled()
    monkeypatch.setenv("VALETKEY_VAULT", str(made.where))
    return made


def test_verify_says_what_was_proven(inside, log):
    done = inside("audit", "verify")
    assert done.code == 0, done.err
    said = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert (said["lines"], said["writers"]) == ("14", "3")
    assert done.out.splitlines()[-1] == "the log holds: 14 lines of 3 writers"
    told = inside("audit", "verify", "--json").json
    assert (told["ok"], told["lines"], told["writers"], told["findings"]) == (True, 14, 3, [])
    assert [(chain["writer"], chain["lines"]) for chain in told["chains"]] == list(
        zip(log.writers, (3, 7, 4), strict=True)
    )


def test_verify_names_the_first_broken_place_and_ends_with_seven(inside, log):
    with closing(sqlite3.connect(log.where, isolation_level=None)) as connection:
        connection.execute("DELETE FROM audit WHERE writer = ? AND number > 5", (log.writers[1],))
    done = inside("audit", "verify", "--json")
    assert (done.code, done.json["ok"], done.error["code"]) == (7, False, "audit_broken")
    assert done.error["evidence"]["reason"] == "tail_cut"
    place = done.json["findings"][0]
    assert (place["reason"], place["writer"], place["ordinal"], place["number"]) == ("tail_cut", log.writers[1], 2, 6)
    assert place["after"], "the time of the last line that holds"
    shown = inside("audit", "verify")
    assert shown.code == 7
    assert "tail_cut" in shown.out
    assert log.writers[1] in shown.out
    assert shown.out.splitlines()[-1] == "the log does not hold: 1 broken place; 12 lines of 3 writers hold"
    assert "audit_broken" in shown.err


# ── search and tail ──────────────────────────────────────────────────────────────────────────────────────────────


def subjects(done):
    assert done.code == 0, done.err
    return [line["subject"] for line in done.json]


def test_search_finds_what_is_asked_for(inside, log):
    assert subjects(inside("audit", "search", "--kind", "token.", "--json")) == ["b3", "b4", "b5"]
    assert subjects(inside("audit", "search", "--subject", "c2", "--json")) == ["c2"]
    assert subjects(inside("audit", "search", "--fingerprint", "f", "--json")) == ["b2"]
    assert subjects(inside("audit", "search", "--kind", "app.added", "-n", "2", "--json")) == ["c3", "c4"]
    assert subjects(inside("audit", "search", "--kind", "app.", "--since", "1h", "--json"))[-1] == "c4"
    assert subjects(inside("audit", "search", "--until", "1h", "--json")) == []
    shown = inside("audit", "search", "--subject", "b6")
    assert "app.added" in shown.out
    nothing = inside("audit", "search", "--app", "nobody")
    assert (nothing.code, nothing.out) == (0, "")
    assert "no line" in nothing.err


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "7", "9999999d", "999999w"])
def test_a_time_that_is_none_is_refused(inside, log, text):
    done = inside("audit", "search", "--since", text)
    assert (done.code, "--since cannot be read as a time" in done.err) == (2, True)


def test_a_moment_is_a_date_a_time_or_as_long_ago():
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    told = {"2026-02-01": "2026-02-01T00:00:00+00:00", "2026-02-01T12:30+01:00": "2026-02-01T12:30:00+01:00"}
    told |= {"2h ago": "2026-03-01T10:00:00+00:00", "90s ago": "2026-03-01T11:58:30+00:00"}
    told |= {"2h": "2026-03-01T10:00:00+00:00", "7d": "2026-02-22T12:00:00+00:00", "90m": "2026-03-01T10:30:00+00:00"}
    for text, moment in told.items():
        assert moment_of(text, noon, "--since").isoformat() == moment


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_following_shows_what_others_write_and_ends_clean(valetkey, log, number):
    command = valetkey.command("audit", "tail", "-n", "1", "-f", "--json")
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": {**valetkey.env, "VALETKEY_VAULT": str(log.where)},
    }
    with subprocess.Popen(command, **options) as process:
        shown = [json.loads(process.stdout.readline())["subject"]]
        with log.writer() as audit:
            audit.note(Event("app.added", "d2"))
        shown += [json.loads(process.stdout.readline())["subject"] for _ in range(2)]
        process.send_signal(number)
        rest, said = process.communicate(timeout=60)
    assert (shown, rest, said, process.returncode) == (["c4", "audit", "d2"], "", "", 0)


# ── prune ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prune_deletes_what_is_old_and_says_how_much(inside, log):
    with log.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "old"))
    counted = inside("audit", "prune", "--keep", "90d", "--dry-run", "--json").json
    assert (counted["lines"], counted["writers"], counted["dry_run"]) == (2, 1, True)
    done = inside("audit", "prune", "--keep", "90d")
    assert (done.code, done.out) == (0, "")
    assert "2 lines deleted, 1 writers with all of theirs" in done.err
    assert inside("audit", "verify", "--json").json["lines"] == 14 + 3
    assert inside("audit", "prune", "--before", "2020-01-01", "--json").json["lines"] == 0


@pytest.mark.parametrize("options", [("--keep", "90d"), ("--keep", "90d ago"), ("--before", "90d ago")], ids=" ".join)
def test_prune_takes_the_spans_that_the_other_commands_take(inside, log, options):
    with log.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "old"))
    assert inside("audit", "prune", *options, "--dry-run", "--json").json["lines"] == 2


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--keep", "90d", "--before", "2026-01-01"),
        ("--keep", "2026-01-01"),
        ("--keep", "soon"),
        ("--before", "9000-01-01"),
    ],
)
def test_prune_deletes_nothing_where_it_is_not_clear_how_much(inside, log, options):
    assert inside("audit", "prune", *options).code == 2
    assert inside("audit", "verify", "--json").json["lines"] == 14


# ── export ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_export_is_proven_with_the_vault_and_elsewhere_by_its_public_key(inside, log, tmp_path, monkeypatch):
    file = tmp_path / "log.jsonl"
    told = inside("audit", "export", str(file), "--json").json
    assert (told["lines"], told["writers"]) == (14, 3)
    assert inside("audit", "verify", "--file", str(file), "--json").json["lines"] == 14
    assert inside("audit", "verify", "--against", str(file), "--json").json["ok"] is True
    again = inside("audit", "export", str(file))
    assert (again.code, "is there already" in again.err) == (2, True)
    monkeypatch.setenv("VALETKEY_VAULT", str(tmp_path / "no vault here"))
    proven = ("audit", "verify", "--file", str(file), "--public-key", told["public_key"], "--json")
    assert inside(*proven).json["lines"] == 14
    file.write_text(file.read_text().replace('"b4"', '"b9"'))
    refused = inside(*proven)
    assert (refused.code, refused.error["evidence"]["reason"]) == (7, "edited")
    assert refused.error["evidence"]["number"] == 4


def test_an_export_goes_through_a_pipe(valetkey, log, monkeypatch):
    valetkey.env["VALETKEY_VAULT"] = str(log.where)
    done = valetkey("audit", "export", "-")
    assert done.code == 0
    assert "public key" in done.err
    assert [*map(json.loads, done.out.splitlines())][-1].keys() == {"closing", "signature"}
    public = done.err.split()[-1]
    assert (
        valetkey("audit", "verify", "--file", "-", "--public-key", public, "--json", stdin=done.out).json["ok"] is True
    )


def test_a_log_that_does_not_hold_is_exported_with_exit_code_seven(inside, log, tmp_path):
    log.sql("UPDATE {t}audit SET subject = 'x' WHERE subject = 'b4'")
    done = inside("audit", "export", str(tmp_path / "log.jsonl"), "--json")
    assert (done.code, done.error["code"]) == (7, "audit_broken")
    assert "export_unsigned" in inside("audit", "verify", "--file", str(tmp_path / "log.jsonl")).out


@pytest.mark.parametrize(
    "options",
    [
        ("--public-key", "00" * 32),
        ("--file", "log", "--against", "log"),
        ("--file", "log", "--public-key", "not hexadecimal"),
        ("--file", "nowhere"),
        ("--against", "nowhere"),
        ("--file", "."),
    ],
)
def test_verify_refuses_what_cannot_be(inside, log, tmp_path, options, monkeypatch):
    assert inside("audit", "export", str(tmp_path / "log")).code == 0
    monkeypatch.chdir(tmp_path)
    done = inside("audit", "verify", *options)
    assert (done.code, done.out) == (2, "")
