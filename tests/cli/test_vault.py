"""`valetkey vault`: moving, backup, restore and the recovery kit, as somebody types them."""

from __future__ import annotations

import os
import re
import stat

import pytest

from valetkey.vault.keyfile import KeyFile


@pytest.fixture
def filled(inside, home):
    """Give the path of the default vault, with an app in it."""
    done = inside("app", "add", "google", "--client-id", "1234", "--secret-stdin", stdin="a client secret")
    assert done.code == 0, done.err
    return home / "data" / "valetkey" / "vault.db"


def apps(inside, *place):
    done = inside("app", "list", "--json", *place)
    return [app["name"] for app in done.json] if done.code == 0 else done.error["code"]


def test_a_vault_moves_to_a_database_and_back(inside, filled, postgres):
    there = inside("vault", "copy", str(filled), postgres, "--json")
    assert (there.code, there.json["records"]) == (0, 3), there.err
    assert apps(inside) == "vault_not_in_use"
    assert apps(inside, "--vault", postgres) == ["google"]
    back = inside("vault", "copy", postgres, f"sqlite:{filled}")
    assert back.code == 0, back.err
    assert "VALETKEY_VAULT" in back.err
    assert apps(inside) == ["google"]


def test_a_move_is_taken_back_only_by_who_says_so_twice(inside, filled, tmp_path):
    assert inside("vault", "copy", str(filled), str(tmp_path / "new.db")).code == 0
    asked = inside("vault", "reopen", "--json")
    assert (asked.code, asked.error["fix"]) == (2, "`valetkey vault reopen --force`, once you know")
    assert inside("vault", "reopen", "--force").code == 0
    assert apps(inside) == ["google"]


@pytest.mark.parametrize("where", ["--vault", "copy"])
def test_a_password_in_an_argument_is_refused_and_not_repeated(inside, filled, canary, where):
    url = f"postgresql://alice:{canary.make()}@db.test/vault"
    arguments = ["vault", "check", "--vault", url] if where == "--vault" else ["vault", "copy", str(filled), url]
    done = inside(*arguments)
    assert done.code == 2
    assert "PGPASSFILE" in done.err
    canary.assert_absent(done.out, done.err)


def test_the_short_way_to_a_token_refuses_a_password_too(inside, canary):
    done = inside("token", "google/alice", "--vault", f"postgresql://alice:{canary.make()}@db.test/vault")
    assert done.code == 2
    canary.assert_absent(done.out, done.err)


def test_a_backup_is_verified_and_restored(inside, filled, tmp_path):
    file = tmp_path / "backup.db"
    assert inside("vault", "backup", str(file), "--json").json["records"] == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 or os.name != "posix"
    verified = inside("vault", "restore", "--verify", str(file))
    assert (verified.code, "nothing was replaced" in verified.err) == (0, True)
    assert inside("app", "rm", "google").code == 0
    assert apps(inside) == []
    restored = inside("vault", "restore", str(file), "--json")
    assert restored.code == 0, restored.err
    assert apps(inside) == ["google"]
    assert apps(inside, "--vault", restored.json["aside"]) == "vault_not_in_use"
    again = inside("vault", "backup", str(file), "--json")
    assert (again.code, again.error["code"]) == (2, "already_exists")


def test_check_counts_what_it_opened(inside, filled):
    done = inside("vault", "check", "--json")
    assert (done.json["records"], done.json["vault"]) == (3, str(filled))
    shown = inside("vault", "check").out
    assert shown.splitlines()[-1].startswith("the vault holds: all 3 records open")


def test_a_key_comes_back_from_its_kit(inside, filled, tmp_path):
    kit = inside("vault", "kit")
    assert kit.code == 0
    key = filled.with_suffix(".key")
    original = KeyFile.read(str(key)).key_id
    key.unlink()
    assert inside("vault", "check", "--json").error["code"] == "key_missing"
    done = inside("vault", "recover", "-", "--key-file", str(key), stdin=kit.out)
    assert done.code == 0, done.err
    assert KeyFile.read(str(key)).key_id == original
    assert inside("vault", "check").code == 0
    assert inside("audit", "tail", "-n", "1", "--json").json[0]["kind"] == "vault.kit_made"


def test_a_typo_in_a_kit_is_located_and_nothing_is_written(inside, filled, tmp_path):
    kit = inside("vault", "kit").out
    (line,) = re.findall(r"^  2  (\S+)$", kit, re.MULTILINE)
    typo = ("A" if line[0] != "A" else "B") + line[1:]
    done = inside("vault", "recover", "-", "--key-file", str(tmp_path / "k"), "--json", stdin=kit.replace(line, typo))
    assert (done.code, done.error["cause"]) == (2, "line 2: symbol 1 of group 1 is wrong")
    assert not (tmp_path / "k").exists()


def test_a_kit_in_a_file_is_for_its_owner_alone(inside, filled, tmp_path):
    path = tmp_path / "kit.txt"
    done = inside("vault", "kit", "--out", str(path))
    assert (done.code, done.out) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name != "posix"
    assert inside("vault", "recover", str(path), "--key-file", str(tmp_path / "k")).code == 0
    taken = inside("vault", "recover", str(path), "--key-file", str(tmp_path / "k"), "--json")
    assert (taken.code, taken.error["code"]) == (2, "already_exists")


def test_a_kit_of_a_key_that_is_not_this_vaults_is_not_made(inside, filled, tmp_path):
    KeyFile.create(str(tmp_path / "stranger.key"))
    done = inside("vault", "kit", "--key-file", str(tmp_path / "stranger.key"), "--json")
    assert (done.code, done.error["code"], done.out) == (7, "wrong_key", "")


def test_recovering_asks_where_the_key_shall_be(inside):
    assert "--key-file" in inside("vault", "recover", "-", "--json", stdin="").error["fix"]
