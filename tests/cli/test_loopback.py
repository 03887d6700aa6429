"""The listener of `valetkey connect`, met by browsers, probes and strangers (RFC 8252 sections 7.3 and 8.3)."""

from __future__ import annotations

import socket
import threading
import time
from http.client import HTTPConnection

import pytest

from valetkey.cli.loopback import Listener
from valetkey.cli.redirect import listening_place
from valetkey.errors import CallbackRefused, InvalidInput

pytestmark = pytest.mark.network

STATE = "the-state-of-this-login"
GOOD = f"/callback?code=the-code&state={STATE}"


class Waiting:
    """A listener that waits on a thread, as the command waits in front of a person."""

    def __init__(self, redirect_uri: str = "http://127.0.0.1/callback", quiet: float = float("inf")) -> None:
        self.quiet = quiet
        self.told = threading.Event()
        self.times_told = 0
        self.listener = Listener(listening_place(redirect_uri))
        self.answers: list[str] = []
        self.thread = threading.Thread(target=self._wait)

    def _wait(self) -> None:
        self.answers.append(self.listener.wait(STATE, time.time() + 30, overdue=self._overdue, quiet=self.quiet))

    def _overdue(self) -> None:
        self.times_told += 1
        self.told.set()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        if not self.listener.answer:  # the test is over, or has failed, before anybody answered
            self.ask(GOOD)
        self.thread.join()
        self.listener.server_close()

    def ask(self, target: str, method: str = "GET", **headers: str):
        """Send one request; `Host` may be given."""
        connection = HTTPConnection("127.0.0.1", self.listener.port, timeout=10)
        connection.putrequest(method, target, skip_host=True)
        for name, value in ({"Host": self.listener.netloc} | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer


def test_the_answer_is_taken_and_nothing_of_it_is_shown():
    with Waiting() as waiting:
        answer = waiting.ask(GOOD)
        waiting.thread.join()
    assert waiting.answers == [GOOD]
    assert (answer.status, "You can close this window" in answer.text) == (200, True)
    assert [word for word in ("the-code", STATE, "?") if word in answer.text] == []
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Python" not in answer.headers["Server"]


@pytest.mark.parametrize(("quiet", "times"), [(0.0, 1), (float("inf"), 0)])
def test_who_waits_long_is_told_so_once(quiet, times):
    with Waiting(quiet=quiet) as waiting:
        if times:
            assert waiting.told.wait(30)
        for _ in range(3):
            waiting.ask("/favicon.ico")  # each ends one turn of the waiting
        waiting.ask(GOOD)
        waiting.thread.join()
        assert (waiting.times_told, waiting.answers) == (times, [GOOD])


def test_a_denied_consent_is_called_so_and_nothing_of_the_answer_is_shown():
    denied = f"/callback?error=access_denied&error_description=the-description&state={STATE}"
    with Waiting() as waiting:
        answer = waiting.ask(denied)
        waiting.thread.join()
    assert waiting.answers == [denied]
    assert (answer.status, "Consent was denied" in answer.text) == (200, True)
    assert [word for word in ("the-description", "access_denied", STATE) if word in answer.text] == []


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/favicon.ico", {}, 404),
        ("/", {}, 404),
        ("/callback", {}, 404),  # a probe: no answer comes without a query
        ("/callback/", {}, 404),
        (f"/callbackx?code=c&state={STATE}", {}, 404),
        (GOOD, {"Host": "evil.example"}, 404),  # a name that was made to resolve to loopback
        (GOOD, {"Host": "127.0.0.1"}, 404),
        ("/callback?code=c&state=forged", {}, 400),
        ("/callback?code=c", {}, 400),
        (f"/callback?code=c&state={STATE}&state=forged", {}, 400),
        (f"/callback?code=c&state={STATE}%C3%A9", {}, 400),
    ],
)
def test_what_is_not_the_answer_is_sent_away_and_the_waiting_goes_on(target, headers, status):
    with Waiting() as waiting:
        refused = waiting.ask(target, **headers)
        assert (refused.status, waiting.answers) == (status, [])
        assert "code=c" not in refused.text
        assert waiting.ask(GOOD).status == 200
        waiting.thread.join()
    assert waiting.answers == [GOOD]
    assert waiting.listener.strangers == (status == 400)


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
def test_only_get_is_answered(method):
    with Waiting() as waiting:
        assert waiting.ask(GOOD, method).status == 501
        assert waiting.answers == []


def test_a_browser_that_connects_and_says_nothing_holds_nobody_up():
    with Waiting() as waiting, socket.create_connection(("127.0.0.1", waiting.listener.port)):
        assert waiting.ask(GOOD).status == 200
        waiting.thread.join()


def test_the_port_is_free_to_choose_unless_the_uri_names_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"cannot listen on 127.0.0.1:{port}") as refused:
            Listener(listening_place(f"http://127.0.0.1:{port}/callback"))
    assert "--no-browser" in refused.value.fix
    with Listener(listening_place(f"http://127.0.0.1:{port}/callback")) as listener:
        assert listener.redirect_uri == f"http://127.0.0.1:{port}/callback"
    with Listener(listening_place("http://127.0.0.1/back")) as listener:
        assert listener.redirect_uri == f"http://127.0.0.1:{listener.port}/back"


def test_only_this_machine_can_reach_it():
    with Listener(listening_place("http://localhost/callback")) as listener:
        assert listener.server_address[0] == "127.0.0.1"


def test_nobody_is_waited_for_longer_than_the_link_is_good():
    with Listener(listening_place("http://127.0.0.1/callback")) as listener, pytest.raises(CallbackRefused) as late:
        listener.wait(STATE, time.time())
    assert late.value.code == "state_expired"
    assert "redirect URI" in late.value.cause
