"""`valetkey vault reseal` and what `vault check` says of keys and files, as somebody types them."""

from __future__ import annotations

import os

import pytest

from valetkey.transport.sync import Transport
from valetkey.values import Entry
from valetkey.vault import reseal
from valetkey.vault.opening import open_world


@pytest.fixture
def filled(inside, home):
    """Give the path of the default vault, with an app in it."""
    done = inside("app", "add", "google", "--client-id", "1234", "--secret-stdin", stdin="a client secret")
    assert done.code == 0, done.err
    return home / "data" / "valetkey" / "vault.db"


def keys(inside):
    found = inside("vault", "check", "--json").json["data_keys"]
    return [(key["current"], key["records"]) for key in found]


def test_a_reseal_is_told_to_people_and_to_programs(inside, filled):
    assert keys(inside) == [(True, 2)]
    done = inside("vault", "reseal")
    assert (done.code, done.out) == (0, "")
    assert "2 of 2 records" in done.err
    assert "`valetkey vault reseal --retire`" in done.err
    assert keys(inside) == [(False, 0), (True, 3)]
    told = inside("vault", "reseal", "--json").json
    assert (told["sealed"], told["resumed"], told["in_use"], told["damaged"]) == (2, False, [], [])
    assert told["vault"] == str(filled)
    assert inside("app", "list", "--json").json[0]["name"] == "google"


def test_old_keys_are_retired_when_it_is_time(inside, filled, monkeypatch):
    assert filled.exists()
    assert inside("vault", "reseal", "--retire").err == "valetkey: there are no older data keys\n"
    inside("vault", "reseal")
    early = inside("vault", "reseal", "--retire", "--json")
    assert (early.code, early.error["code"]) == (2, "invalid_input")
    assert "60 minutes" in early.error["message"]
    monkeypatch.setattr(reseal, "RETIRE_SECONDS", 0.0)
    assert len(inside("vault", "reseal", "--retire", "--json").json["retired"]) == 1
    assert keys(inside) == [(True, 3)]


def test_a_damaged_record_is_named_and_the_exit_code_says_that_something_is_left(inside, filled):
    _desk, world = open_world(filled, transport=Transport)
    assert world.store.swap("connection/google/broken", 0, Entry("active", b"\1" + bytes(40)))
    world.close()
    done = inside("vault", "reseal")
    assert done.code == 7
    assert "does not open, and was left: connection/google/broken" in done.err
    assert inside("vault", "reseal", "--json").json["damaged"] == ["connection/google/broken"]


def test_a_vault_that_is_not_there_is_not_made(inside, home):
    done = inside("vault", "reseal", "--json")
    assert (done.code, done.error["code"]) == (7, "vault_missing")
    assert not (home / "data" / "valetkey" / "vault.db").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_a_check_says_what_others_could_read_and_how_to_mend_it(inside, filled):
    assert inside("vault", "check", "--json").json["readable_by_others"] == []
    filled.chmod(0o644)
    done = inside("vault", "check")
    assert f"others can read it: {filled} has mode 0644: chmod 600 {filled}" in done.err
    filled.chmod(0o600)
    spill = filled.with_suffix(".spill")
    spill.mkdir(mode=0o700, exist_ok=True)
    left = spill / "x.box"
    left.write_bytes(b"")
    left.chmod(0o640)
    assert inside("vault", "check", "--json").json["readable_by_others"] == [f"{left} has mode 0640: chmod 600 {left}"]


def test_a_check_names_an_old_key_and_an_unfinished_reseal(inside, filled, monkeypatch):
    monkeypatch.setattr("valetkey.cli.vault.OLD_DAYS", 0)
    assert "`valetkey vault reseal` makes a new data key" in inside("vault", "check").err
    desk, world = open_world(filled, transport=Transport)
    reseal._begun(desk, world)
    world.close()
    assert "goes on with it" in inside("vault", "check").err
    assert inside("vault", "reseal", "--json").json["resumed"]


def test_nothing_secret_is_said(inside, home, canary):
    secret = canary.make("client secret")
    assert inside("app", "add", "google", "--client-id", "1", "--secret-stdin", stdin=secret).code == 0
    said = [inside("vault", *words) for words in (["reseal"], ["reseal", "--json"], ["check"], ["reseal", "--retire"])]
    canary.assert_absent(home, *(done.out + done.err for done in said))
