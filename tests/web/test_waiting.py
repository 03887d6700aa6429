"""Silence shuts nobody out: connections without a request are ended, and never stand in the way of one."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from valetkey.web import waiting
from valetkey.web.waiting import REQUESTS_MOST, WAITING_OF_ONE, Bounded, peer

SECONDS = 30  # how long a test waits on a busy machine before it counts as stuck


def dial(running) -> socket.socket:
    parts = urlsplit(running.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=SECONDS)


def ended(one: socket.socket) -> bool:
    """Wait until the server has hung up."""
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.network
def test_hundreds_of_silent_connections_do_not_keep_anybody_out(running, person):
    with ExitStack() as stack:
        silent = [stack.enter_context(dial(running)) for _ in range(REQUESTS_MOST + 20)]
        assert httpx.get(f"{running.url}/health", trust_env=False, verify=False, timeout=SECONDS).status_code == 200
        assert person.get("/").status_code == 200
        assert all(ended(one) for one in silent[:-WAITING_OF_ONE]), "the oldest make room"
        latest = silent[-1]
        latest.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert latest.recv(12) == b"HTTP/1.1 200", "the newest are as good as any"


@pytest.mark.network
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        b"POST /enter HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\ncsrf=",
    ],
)
def test_a_connection_whose_request_does_not_come_is_ended(running, monkeypatch, everything_logged, said):
    monkeypatch.setattr(waiting, "ARRIVAL_SECONDS", 0.2)
    with dial(running) as one:
        one.sendall(said)
        assert ended(one)
    assert httpx.get(f"{running.url}/health", trust_env=False, verify=False).status_code == 200
    assert [word for word in ("unexpected", "Exception", "Error") if word in everything_logged()] == []


@pytest.mark.network
def test_one_byte_now_and_then_gains_no_time(running, monkeypatch):
    monkeypatch.setattr(waiting, "ARRIVAL_SECONDS", 0.5)
    with dial(running) as one:
        one.settimeout(0.05)
        for letter in b"GET /" + b"a" * 10_000:
            try:
                one.sendall(bytes([letter]))
                assert one.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                pass
            break
        else:
            pytest.fail("it dripped on for minutes")


@pytest.mark.network
def test_a_slow_answer_is_not_taken_for_silence(running, person, monkeypatch):
    address = person.sent_back()
    monkeypatch.setattr(waiting, "ARRIVAL_SECONDS", 0.2)
    running.sandbox.slow_next(1.0, at="token")
    assert person.lands(address).status_code == 200


async def test_a_request_too_many_is_told_to_come_again_and_health_is_not():
    go_on, all_in = asyncio.Event(), asyncio.Event()
    entered: list[str] = []
    answers: list[int] = []

    async def app(scope, _receive, _send) -> None:
        entered.append(scope["path"])
        if len(entered) > REQUESTS_MOST:
            all_in.set()
        await go_on.wait()

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            answers.append(message["status"])
            assert (b"retry-after", b"2") in message["headers"]

    def ask(path: str = "/") -> asyncio.Task[None]:
        return asyncio.create_task(bounded({"type": "http", "path": path}, None, send))

    bounded = Bounded(app)
    tasks = [ask() for _ in range(REQUESTS_MOST)]
    await ask("/a-further-one")
    tasks.append(ask("/health"))
    await asyncio.wait_for(all_in.wait(), SECONDS)
    assert (answers, entered[-1]) == ([503], "/health")
    go_on.set()
    await asyncio.gather(*tasks)
    await ask("/now-there-is-room")
    assert (answers, entered[-1]) == ([503], "/now-there-is-room")


@pytest.mark.parametrize(
    ("host", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("2001:db8:1:2::9", "20010db800010002"),  # the same host under another of its addresses
        ("fe80::1%eth0", "fe80000000000000"),
    ],
)
def test_one_host_is_one_peer(host, whose):
    assert peer((host, 1)) == whose
