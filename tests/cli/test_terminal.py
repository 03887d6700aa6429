"""What happens between the program and a person at a terminal: hidden prompts, Ctrl-C, pasted addresses."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from clikit import SECONDS, WEB_SECRET

pytestmark = [pytest.mark.network, pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")]


class Terminal:
    """A pseudo-terminal that a program is started on; what it shows is read to the end of a word."""

    def __init__(self) -> None:
        self.ours, self.its = os.openpty()
        self.shown = ""

    def until(self, word: str) -> str:
        """Read until a word is shown; return everything shown so far."""
        while word not in self.shown:
            self.shown += os.read(self.ours, 4096).decode()
        return self.shown

    def rest(self) -> str:
        """Read until the program has let go of the terminal."""
        os.close(self.its)
        self.its = -1
        try:
            while more := os.read(self.ours, 4096):
                self.shown += more.decode()
        except OSError:  # how Linux says that nobody is left on the other side
            pass
        return self.shown

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def close(self) -> None:
        for end in (self.ours, self.its):
            if end >= 0:
                os.close(end)


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


def on(terminal: Terminal) -> dict:
    # Without a session of its own the program would ask at the terminal the tests were started from.
    return {"stdin": terminal.its, "stdout": terminal.its, "stderr": terminal.its, "start_new_session": True}


def test_a_client_secret_is_asked_for_and_not_shown(valetkey, inside, sandbox, terminal):
    words = ("app", "add", "box", "--issuer", sandbox.url, "--client-id", "sandbox-web")
    with valetkey.start(*words, **on(terminal)) as process:
        terminal.until("client secret (not shown): ")
        terminal.type(f"{WEB_SECRET}\n")
        shown = terminal.rest()
        assert process.wait(SECONDS) == 0
    assert "box: kept" in shown
    assert WEB_SECRET not in shown
    assert inside("app", "show", "box", "--json").json["has_secret"] is True


def test_an_empty_secret_is_none(valetkey, sandbox, terminal):
    words = ("app", "add", "box", "--issuer", sandbox.url, "--client-id", "sandbox-web")
    with valetkey.start(*words, **on(terminal)) as process:
        terminal.until("client secret (not shown): ")
        terminal.type("\n")
        assert "no client secret was given" in terminal.rest()
        assert process.wait(SECONDS) == 2


def test_a_pasted_address_is_not_shown_because_it_holds_a_code(valetkey, box, terminal):
    with valetkey.start("connect", "box/alice", "--no-browser", **on(terminal)) as process:
        shown = terminal.until("address (not shown): ")
        url = next(line.strip() for line in shown.splitlines() if line.startswith("  http"))
        answer = box.login(url)
        terminal.type(f"{answer}\n")
        rest = terminal.rest()
        assert process.wait(SECONDS) == 0, rest
    assert "box/alice: connected" in rest
    assert "code=" not in rest.replace("response_type=code", "")


def test_an_app_whose_redirect_uri_is_elsewhere_falls_back_to_pasting(inside, sandbox):
    uri = "https://auth.example.com/callback"
    words = ("app", "add", "box", "--issuer", sandbox.url, "--client-id", "sandbox-web", "--redirect-uri", uri)
    assert inside(*words, "--secret-stdin", stdin=WEB_SECRET).code == 0
    done = inside("connect", "box/alice")
    assert done.code == 2
    assert "redirect URI is on another machine" in done.err
    assert "https%3A%2F%2Fauth.example.com%2Fcallback" in done.err


@pytest.mark.parametrize(
    ("words", "shown"),
    [(["connect", "box/alice"], "Ctrl-C ends it"), (["connect", "box/tv", "--device"], "Ctrl-C ends it")],
)
def test_ctrl_c_ends_the_waiting_at_once_and_keeps_nothing(valetkey, inside, box, words, shown):
    valetkey.env["BROWSER"] = "true %s"
    with valetkey.start(*words) as process:
        assert any(shown in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert process.stderr.read().strip().endswith("valetkey: interrupted")
    assert inside("connection", "list", "--json").json == []


@pytest.mark.parametrize("words", [["connect", "box/alice"], ["connect", "box/tv", "--device"]])
def test_a_program_is_told_of_ctrl_c_in_json(valetkey, box, words):
    valetkey.env["BROWSER"] = "true %s"
    with valetkey.start(*words, "--json") as process:
        assert any("Ctrl-C ends it" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert json.loads(process.stderr.read().splitlines()[-1])["code"] == "interrupted"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["--version"], ["provider", "list"], ["provider", "list", "--json"]])
def test_output_that_cannot_be_written_is_said_with_its_cause(valetkey, words):
    with Path("/dev/full").open("w") as full, valetkey.start(*words, stdout=full) as process:
        assert process.wait(SECONDS) == 1
        said = process.stderr.read().splitlines()
    cause = "the disk that standard output leads to is full"
    if "--json" in words:
        assert [json.loads(line)["cause"] for line in said] == [cause]
    else:
        assert "the output cannot be written" in said[0]
        assert said[1] == f"  cause: {cause}"


def test_a_typed_passphrase_is_what_was_typed_as_it_is_from_a_descriptor(valetkey, terminal):
    phrase = "  wooden fox counts nine slow rivers "
    with valetkey.start("vault", "init", "--key", "passphrase", **on(terminal)) as process:
        terminal.until("new passphrase (not shown): ")
        terminal.type(f"{phrase}\n")
        terminal.until("the same again (not shown): ")
        terminal.type(f"{phrase}\n")
        assert phrase.strip() not in terminal.rest()
        assert process.wait(SECONDS) == 0
    check = ("--passphrase-fd", "0", "vault", "check", "--json")
    assert valetkey(*check, stdin=f"{phrase}\n").code == 0
    assert valetkey(*check, stdin=f"{phrase.strip()}\n").error["code"] == "wrong_key"
