"""`valetkey vault init` and `rewrap`: a passphrase comes by a descriptor, and never stands in what is shown."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest

from clikit import Program

PHRASE = "wooden fox counts nine slow rivers"


@contextmanager
def descriptor(text):
    """Give the number of a pipe that holds a text."""
    read, write = os.pipe()
    os.write(write, f"{text}\n".encode())
    os.close(write)
    try:
        yield read
    finally:
        os.close(read)


@pytest.fixture
def run(inside, tmp_path):
    def called(*arguments, phrase=PHRASE, option="--passphrase-fd"):
        with descriptor(phrase) as number:
            done = inside("--vault", str(tmp_path / "v.db"), *arguments, option, str(number))
        assert phrase not in done.out + done.err
        return done

    return called


def test_a_vault_is_made_under_a_passphrase_opened_and_put_under_a_file(run, tmp_path):
    assert run("vault", "init", "--key", "passphrase", option="--new-passphrase-fd").code == 0
    assert not (tmp_path / "v.key").exists()
    found = run("vault", "check", "--json").json
    assert (found["records"], found["audit_lines"]) == (2, 2), (
        "keyring and the log's key; audit.begun and vault.created"
    )
    wrong = run("vault", "check", "--json", phrase="wooden fox counts ten slow rivers")
    assert (wrong.code, wrong.error["code"]) == (7, "wrong_key")
    kit = run("vault", "kit").out
    assert "valetkey recovery kit" in kit
    done = run("vault", "rewrap", "--to", "file", "--json")
    assert done.json["before"] == "a passphrase"
    assert done.json["after"] == f"key file {tmp_path / 'v.key'}"
    assert run("vault", "check", phrase="is not asked for").code == 0
    again = run("vault", "rewrap", "--to", "passphrase", option="--new-passphrase-fd")
    assert "which backups of before still need" in again.err
    assert (tmp_path / "v.key").exists()


def test_a_passphrase_is_changed_by_two_descriptors_and_the_old_one_is_not_taken_for_the_new(run, tmp_path):
    assert run("vault", "init", "--key", "passphrase", option="--new-passphrase-fd").code == 0
    refused = run("vault", "rewrap", "--to", "passphrase", "--json")
    assert "--new-passphrase-fd" in refused.error["fix"]
    other = "seven quiet lamps over the old harbour"
    with descriptor(PHRASE) as now, descriptor(other) as new:
        done = Program()(
            *("--vault", str(tmp_path / "v.db"), "vault", "rewrap", "--to", "passphrase"),
            *("--passphrase-fd", str(now), "--new-passphrase-fd", str(new)),
            pass_fds=(now, new),
        )
    assert done.code == 0
    assert run("vault", "check", "--json").error["code"] == "wrong_key"
    assert run("vault", "check", phrase=other).code == 0


def test_a_kit_brings_a_vault_back_whose_passphrase_was_forgotten(run, inside, tmp_path):
    assert run("vault", "init", "--key", "passphrase", option="--new-passphrase-fd").code == 0
    kit, key = run("vault", "kit").out, str(tmp_path / "kit.key")
    assert inside("vault", "recover", "--key-file", key, stdin=kit).code == 0
    assert inside("--vault", str(tmp_path / "v.db"), "--key-file", key, "vault", "check").code == 0


def test_without_a_passphrase_and_a_terminal_the_ways_to_give_it_are_told(run, inside, tmp_path):
    assert run("vault", "init", "--key", "passphrase", option="--new-passphrase-fd").code == 0
    done = inside("--vault", str(tmp_path / "v.db"), "vault", "check", "--json")
    assert "--passphrase-fd" in done.error["fix"]


def test_a_vault_is_not_made_twice(run):
    assert run("vault", "init", option="--new-passphrase-fd").code == 0
    assert run("vault", "init", "--json", option="--new-passphrase-fd").error["code"] == "already_exists"


def test_standard_input_is_a_descriptor_like_another(run, tmp_path):
    assert run("vault", "init", "--key", "passphrase", option="--new-passphrase-fd").code == 0
    opened = Program()("--vault", str(tmp_path / "v.db"), "--passphrase-fd", "0", "vault", "check", stdin=f"{PHRASE}\n")
    assert opened.code == 0
