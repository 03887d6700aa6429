"""What a shell is given at a Tab: names of providers, apps and connections, and never an error.

What may not be here: the words of our own commands (test_commands.py).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

import valetkey as library
from clikit import SECONDS
from valetkey.cli.root import COMMANDS, root
from valetkey.vault import glance

pytestmark = pytest.mark.network

APPS = {"box", "robot"}


@pytest.fixture
def completed(inside, monkeypatch):
    """Return what a line is completed to, as each shell asks for it."""

    def ask(line: str, shell: str = "bash"):
        words = line.split(" ")
        monkeypatch.setenv("_VALETKEY_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
        done = inside()
        monkeypatch.delenv("_VALETKEY_COMPLETE")
        assert done.err == ""
        lines = done.out.splitlines()
        found = set(lines[1::3]) if shell == "zsh" else {line.partition(",")[2] for line in lines}
        return found - {""}

    return ask


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_of_apps_and_connections_are_completed(completed, robot, shell):
    assert completed("valetkey app show ", shell) == APPS
    assert completed("valetkey app secret show ro", shell) == {"robot"}
    assert completed("valetkey token ro", shell) == {"robot/one"}
    assert completed("valetkey token x", shell) == set()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("valetkey connection show ", {"robot/one"}),
        ("valetkey connection list ", APPS),
        ("valetkey connect ", {"box/", "robot/", "robot/one"}),
        ("valetkey connect robot/", {"robot/one"}),
        ("valetkey curl ", {"robot/one"}),
        ("valetkey exec robot/one ro", {"robot/one"}),
        ("valetkey curl robot/one -- ro", set()),
        ("valetkey exec robot/one -- ", set()),
        ("valetkey audit search --app b", {"box"}),
        ("valetkey audit search --subject ", {"robot/one"}),
        ("valetkey app add goo", {"google"}),
        ("valetkey app add mine goo", {"google"}),
        ("valetkey app add sand", set()),  # it is in no catalogue
        ("valetkey app add --replace ", APPS),
        ("valetkey provider show slac", {"slack"}),
        ("valetkey provider show sand", {"sandbox"}),
        ("valetkey provider show x", set()),
    ],
)
def test_each_place_takes_its_kind_of_name(completed, robot, line, words):
    assert completed(line) == words


def test_every_argument_for_a_connection_is_completed():
    named = [
        (command.name, param)
        for command in _all()
        for param in command.params
        if "APP/LABEL" in (param.metavar or "") and param.param_type_name == "argument"
    ]
    assert len(named) >= 10
    assert [name for name, param in named if param._custom_shell_complete is None] == []


def _all():
    for name in COMMANDS:
        command = root.get_command(None, name)
        yield command
        yield from getattr(command, "commands", {}).values()


def test_the_vault_is_the_one_of_the_line(completed, robot, tmp_path):
    with library.open(tmp_path / "other.db", create=True):
        pass
    assert completed(f"valetkey --vault {tmp_path}/other.db token ") == set()
    assert completed(f"valetkey token --vault {tmp_path}/other.db ") == set()
    assert completed("valetkey token ") == {"robot/one"}


def test_neither_key_nor_audit_log_is_touched(completed, robot, home):
    (vault,) = home.rglob("vault.db")
    key = vault.with_suffix(".key")
    with closing(sqlite3.connect(vault)) as store:
        before = store.execute("SELECT count(*) FROM audit").fetchall()
        key.unlink()
        assert completed("valetkey token ") == {"robot/one"}
        assert store.execute("SELECT count(*) FROM audit").fetchall() == before


@pytest.mark.parametrize("what", ["nothing", "folder", "text", "empty", "other", "~nobody-at-all/vault.db"])
def test_a_vault_that_cannot_be_read_has_no_names(completed, home, tmp_path, monkeypatch, what):
    place = tmp_path / what if "/" not in what else what
    if what == "folder":
        place.mkdir()
    elif what == "text":
        place.write_text("no database " * 100)
    elif what == "empty":
        place.write_text("")
    elif what == "other":
        with closing(sqlite3.connect(place)) as store:
            store.execute("CREATE TABLE records (x)")
    assert completed(f"valetkey --vault {place} token ") == set()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "place", ["postgresql://me:secret@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x", "aws-sm:x", "vault+kv://a/b"]
)
def test_a_database_lets_nobody_wait(completed, home, place):
    assert completed(f"valetkey --vault {place} token ") == set()


def test_only_so_many_are_named_as_a_person_can_choose_from(tmp_path, monkeypatch):
    with closing(sqlite3.connect(tmp_path / "v.db")) as store, store:
        store.execute("CREATE TABLE records (name TEXT PRIMARY KEY) WITHOUT ROWID")
        names = ((f"connection/a/user-{number:05}",) for number in range(1000))
        store.executemany("INSERT INTO records VALUES (?)", names)
    found = glance.names_in(str(tmp_path / "v.db"), "connection/", "a/user-005")
    assert found == [f"a/user-{number:05}" for number in range(500, 600)]
    assert len(glance.names_in(str(tmp_path / "v.db"), "connection/", "")) == glance.MOST


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes(valetkey, robot, tmp_path):
    program = tmp_path / "valetkey"
    program.write_text(f'#!/bin/sh\nexec {" ".join(valetkey.command())} "$@"\n')
    program.chmod(0o700)
    script = (
        'eval "$(valetkey completion bash)"; COMP_WORDS=(valetkey token ro); COMP_CWORD=2; '
        '_valetkey_completion valetkey; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = {**valetkey.env, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, timeout=SECONDS, check=True)
    assert (done.stdout, done.stderr) == ("robot/one\n", "")
