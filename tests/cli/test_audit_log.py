"""`--audit-log`: every line beside the vault's too, on standard output only where that is not for a result."""

from __future__ import annotations

import json
import signal

import pytest

import valetkey as library
from vaultkit import crowd

pytestmark = pytest.mark.network


def kinds(text):
    """Return the kinds of lines of JSON without what each process begins with."""
    return [kind for line in text.splitlines() if (kind := json.loads(line)["kind"]) != "audit.begun"]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.jsonl"


def test_what_commands_do_is_in_the_file_named_by_option_or_variable(inside, robot, log, monkeypatch):
    monkeypatch.setenv("VALETKEY_AUDIT_LOG", str(log))
    assert inside("connection", "refresh", "robot/one").code == 0
    assert kinds(log.read_text()) == ["refresh.started", "refresh.finished"]
    other = log.with_name("other.jsonl")
    assert inside("connection", "refresh", "robot/one", "--audit-log", str(other)).code == 0
    assert kinds(other.read_text()) == ["refresh.started", "refresh.finished"]
    assert len(kinds(log.read_text())) == 2


def test_what_is_done_to_the_vault_itself_is_in_the_file(inside, tmp_path, log):
    told, moved = ("--audit-log", str(log)), str(tmp_path / "moved.db")
    vault, backup = str(tmp_path / "v.db"), str(tmp_path / "backup")
    for arguments in (
        ("vault", "init", "--vault", vault),
        ("vault", "kit", "--vault", vault),
        ("vault", "copy", vault, moved),
        ("vault", "reopen", "--force", "--vault", vault),
        ("vault", "backup", "--vault", vault, backup),
        ("vault", "restore", "--vault", vault, backup),
        ("vault", "rewrap", "--vault", vault, "--to", f"file:{tmp_path / 'other.key'}"),
    ):
        done = inside(*arguments, *told)
        assert done.code == 0, done.err
    assert kinds(log.read_text()) == [
        "vault.created",
        "vault.kit_made",
        "vault.move_started",
        "vault.moved",
        "vault.moved",
        "vault.reopened",
        "vault.restored",
        "vault.rewrap_started",
        "vault.rewrapped",
    ]


@pytest.mark.parametrize("command", [("token", "robot/one"), ("app", "list"), ("curl", "robot/one", "--", "http://x")])
@pytest.mark.parametrize("way", ["option", "variable"])
def test_standard_output_is_refused_where_it_is_for_a_result(inside, robot, command, way, monkeypatch):
    if way == "variable":
        monkeypatch.setenv("VALETKEY_AUDIT_LOG", "-")
    done = inside("--json", *(("--audit-log", "-") if way == "option" else ()), *command)
    assert (done.code, done.out, done.error["code"]) == (2, "", "invalid_input")
    assert "--audit-log FILE" in done.error["fix"]


def test_the_short_way_to_a_token_refuses_it_too(inside, robot, monkeypatch):
    monkeypatch.setenv("VALETKEY_AUDIT_LOG", "-")
    done = inside("token", "robot/one")
    assert (done.code, done.out) == (2, "")


def test_the_short_way_to_a_token_leaves_a_line_that_whoever_writes_next_takes_in(inside, robot, log, monkeypatch):
    tokens = [inside("token", "robot/one").out.strip() for _ in range(2)]
    assert tokens[0] == tokens[1] != ""
    spooled = [line for line in inside("audit", "tail", "--json").json if "spool_id" in line.get("detail", {})]
    assert [(line["kind"], line["subject"]) for line in spooled] == [("token.handed_out", "robot/one")] * 2
    monkeypatch.setenv("VALETKEY_AUDIT_LOG", str(log))
    assert inside("token", "robot/one").out.strip() == tokens[0]
    assert inside("connection", "refresh", "robot/one").code == 0
    assert kinds(log.read_text())[0] == "token.handed_out"


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_done(inside, tmp_path):
    vault = tmp_path / "v.db"
    place = str(tmp_path / "nowhere" / "audit.jsonl")
    done = inside("vault", "init", "--vault", str(vault), "--audit-log", place, "--json")
    assert (done.code, done.error["code"]) == (2, "invalid_input")
    assert not vault.exists()


def test_keep_writes_it_to_standard_output_and_its_own_words_to_standard_error(valetkey, box):
    with library.open() as vault:
        crowd(vault, box, 2, expires_in=30, app="box")
    done = valetkey("keep", "--once", "--audit-log", "-")
    assert done.code == 0
    assert sorted(kinds(done.out)) == ["refresh.finished"] * 2 + ["refresh.started"] * 2
    assert "renewed" in done.err


def test_serve_writes_it_to_standard_output_and_its_own_words_to_standard_error(valetkey, box, tmp_path):
    with valetkey.start("serve", "--port", "0", "--audit-log", "-", cwd=tmp_path) as process:
        said = ""
        while "operator's key" not in said:
            said += process.stderr.readline()
        with library.open() as vault:
            crowd(vault, box, 1, expires_in=30, app="box")
        first = [json.loads(process.stdout.readline())["kind"] for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert first == ["audit.begun", "refresh.started", "refresh.finished"]
    assert kinds(out) == []


def test_a_refresh_by_command_hands_no_token_out_and_the_library_does(inside, robot):
    assert inside("connection", "refresh", "robot/one", "--json").code == 0
    with library.open() as vault:
        assert [line.kind for line in vault.events(3)][-2:] == ["refresh.started", "refresh.finished"]
        assert vault.refresh_connection("robot/one").state == "active"
        vault.refresh("robot/one")
    with library.open() as vault:
        told = [line.kind for line in vault.events(20) if line.kind.startswith(("token.", "refresh."))]
    assert told == ["refresh.started", "refresh.finished"] * 3 + ["token.handed_out"]
