"""`valetkey audit`: what it shows of the log, and how it says that the log was changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from auditkit import Log


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
    assert "audit_broken" in shown.err
