"""Delivering: over a real connection and through a real command, and what each failure is called."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

import valetkey
from hooks import receiver
from valetkey.errors import NotFound
from valetkey.vault import courier
from valetkey.vault.notices import Listener, Outcome, trial
from valetkey.vault.webhook import new_secret, signature

pytestmark = pytest.mark.network

SECRET = new_secret(bytes(range(32)))


@pytest.fixture
def vault(tmp_path):
    with valetkey.open(tmp_path / "vault.db") as opened:
        yield opened


def to(vault, **facts):
    return courier.deliver(trial(Listener(name="desk", created_at=0, **facts), 1_700_000_000.5), vault._world)


def test_a_webhook_is_signed_over_what_is_sent(vault):
    with receiver() as (url, got):
        outcome = to(vault, url=url, secret=SECRET)
    assert (outcome.delivered, outcome.word) == (True, "http_204")
    ((headers, body),) = got
    assert headers["webhook-id"].startswith("msg_")
    moment = int(headers["webhook-timestamp"])
    assert abs(moment - vault._world.clock().timestamp()) < 60
    assert headers["webhook-signature"] == signature(SECRET, headers["webhook-id"], moment, body)
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["type"] == "valetkey.test"


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (500, {}, Outcome(delivered=False, word="http_500")),
        (429, {"retry_after": "77"}, Outcome(delivered=False, word="http_429", retry_after=77.0)),
        (302, {"location": "http://127.0.0.1:9/"}, Outcome(delivered=False, word="http_302")),  # not followed
        (410, {}, Outcome(delivered=False, word="http_410", final=True)),
    ],
)
def test_anything_but_2xx_is_no_delivery(vault, status, headers, outcome):
    with receiver(status, **headers) as (url, _got):
        assert to(vault, url=url, secret=SECRET) == outcome


def test_a_receiver_that_is_not_there_is_weather(vault):
    with receiver() as (url, _got):
        pass
    outcome = to(vault, url=url, secret=SECRET)
    assert (outcome.delivered, outcome.word, outcome.final) == (False, "provider_unavailable", False)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_a_command_gets_the_news_on_standard_input_and_nothing_in_its_arguments(vault, tmp_path):
    path = tmp_path / "heard"
    code = f"import sys; open({str(path)!r}, 'w').write(sys.stdin.read()); assert len(sys.argv) == 1"
    assert to(vault, command=python(code)).word == "exit_0"
    assert json.loads(path.read_text()) == {
        "type": "valetkey.test",
        "timestamp": "2023-11-14T22:13:20+00:00",
        "data": {"listener": "desk"},
    }


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (python("raise SystemExit(3)"), "exit_3"),
        (python("import os, signal; os.kill(os.getpid(), signal.SIGTERM)"), "signal_15"),
        (("/nowhere/to/be/found",), "not_started"),
        (("bad\0name",), "not_started"),
        (python("import os; os.close(0)"), "exit_0"),  # one that does not read what it is told
    ],
)
def test_how_a_command_ended_is_said_in_a_word(vault, command, word):
    outcome = to(vault, command=command)
    assert (outcome.word, outcome.delivered) == (word, word == "exit_0")


def test_a_command_that_does_not_end_is_ended_with_all_it_started(vault, tmp_path, monkeypatch):
    monkeypatch.setattr(courier, "COMMAND_SECONDS", 0.5)
    pids = tmp_path / "pids"
    code = (
        "import subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(pids)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    assert to(vault, command=python(code)).word == "timed_out"
    child = int(pids.read_text())
    while alive(child):  # it was sent its signal already; the test's own time-out bounds this
        threading.Event().wait(0.005)


def alive(pid: int) -> bool:
    """Say whether a process still runs; one that ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def test_a_test_tells_one_listener_and_says_what_became_of_it(vault):
    with receiver() as (url, got):
        vault.add_listener(Listener(name="desk", created_at=0, url=url, secret=SECRET))
        assert vault.test_listener("desk").delivered
    assert len(got) == 1
    line = vault.events(1)[0]
    assert (line.kind, line.subject, line.outcome, line.reason) == ("notice.tested", "desk", "ok", "http_204")
    with pytest.raises(NotFound):
        vault.test_listener("nobody")
