"""What can go wrong on the way: each a clear error that says whether the request may have arrived, and no secret."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from valetkey.errors import InsecureUrl, InvalidInput, ProviderTimeout, ProviderUnavailable
from valetkey.transport import AsyncTransport, Transport
from valetkey.values import Request

pytestmark = pytest.mark.network

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

SHORT = 0.3  # seconds, for what cannot end otherwise


def drip(first: bytes, piece: bytes):
    """Send a beginning, and then a piece every moment for as long as anybody listens."""

    def handler(connection, server):
        server.read(connection)
        connection.sendall(first)
        while not server.go_on.wait(0.02):
            connection.sendall(piece)

    return handler


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_a_refused_connection_is_named_and_nothing_was_sent(send):
    port = free_port()
    with pytest.raises(ProviderUnavailable) as caught:
        send(Request("POST", f"http://127.0.0.1:{port}/token", body=b"x"))
    assert not caught.value.sent
    assert caught.value.message == f"127.0.0.1:{port} refused the connection"
    assert caught.value.evidence["reason"] == "ConnectionRefusedError"
    assert caught.value.cause
    assert caught.value.fix


def test_a_name_without_an_address_is_named_and_nothing_was_sent(send):
    with pytest.raises(ProviderUnavailable) as caught:
        send(Request("POST", "https://login.example/token", body=b"x"))
    assert not caught.value.sent
    assert caught.value.message == "no address was found for login.example"
    assert caught.value.evidence["reason"] == "gaierror"


@pytest.mark.parametrize("host", ["a..b.example", "x" * 64 + ".example"])
def test_a_name_that_is_none_is_named_and_nothing_was_sent(send, host):
    with pytest.raises(ProviderUnavailable) as caught:
        send(Request("POST", f"https://{host}/token", body=b"x"))
    assert not caught.value.sent


def test_a_resolver_that_hangs_is_left_behind(send, monkeypatch, serve):
    server = serve(OK)  # for its event only

    def hang(*_, **__):
        server.go_on.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(ProviderTimeout) as caught:
        send(Request("POST", "https://login.example/token", timeout=SHORT))
    assert not caught.value.sent
    server.go_on.set()


def test_a_full_backlog_times_out_before_anything_was_sent(send):
    with closing(socket.socket()) as full, closing(socket.socket()) as one, closing(socket.socket()) as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (one, two):  # Linux takes one more than asked for
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        with pytest.raises(ProviderTimeout) as caught:
            send(Request("POST", f"http://127.0.0.1:{full.getsockname()[1]}/", timeout=SHORT))
    assert not caught.value.sent


def test_a_server_that_takes_the_request_and_is_silent_may_have_it(send):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ProviderTimeout) as caught:
            send(Request("POST", f"http://127.0.0.1:{port}/", body=b"x", timeout=SHORT))
    assert caught.value.sent
    assert caught.value.message == f"127.0.0.1:{port} gave no whole answer in 0.3 seconds"


def test_a_tls_server_that_is_silent_has_nothing(send):
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ProviderTimeout) as caught:
        send(Request("POST", f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout=SHORT))
    assert not caught.value.sent


ENDLESS = {
    "status": (b"HTTP/1.1 200 ", b"K"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


def test_the_deadline_holds_although_something_always_comes(serve, make_sender):
    def asked(given) -> str:
        send, server = given
        try:
            send(Request("POST", server.url(), body=b"x", timeout=SHORT))
        except ProviderTimeout as late:
            return "sent" if late.sent else "not sent"
        return "an answer"

    servers = [(make_sender(), serve(drip(first, piece))) for first, piece in ENDLESS.values()]
    with ThreadPoolExecutor(len(servers)) as pool:  # all at once, for each takes its whole time
        assert dict(zip(ENDLESS, pool.map(asked, servers), strict=True)) == dict.fromkeys(ENDLESS, "sent")


def test_the_deadline_holds_while_the_server_does_not_read(serve, send):
    server = serve(lambda connection, server: server.go_on.wait(30))
    with pytest.raises(ProviderTimeout) as caught:
        send(Request("POST", server.url(), body=b"x" * (1 << 20), timeout=SHORT))
    assert caught.value.sent


def test_a_time_that_is_over_before_it_began_sends_nothing(serve, send):
    server = serve(OK)
    with pytest.raises(ProviderTimeout) as caught:
        send(Request("POST", server.url(), timeout=0))
    assert not caught.value.sent
    assert server.connections == 0


def reset(connection, server):
    """Answer once, and then close so that the peer's next write fails."""
    server.read(connection)
    connection.sendall(OK)
    server.go_on.wait()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_first_write_that_fails_has_sent_nothing(serve, monkeypatch):
    """The close comes between our look at the idle connection and our write: here the look is skipped."""
    from valetkey.transport import wire

    server = serve(reset)
    with Transport() as transport:
        transport.send(Request("POST", server.url(), body=b"one"))
        monkeypatch.setattr(wire.PlainConnection, "is_connected", True)
        server.go_on.set()
        assert server.gone.wait(30)
        with pytest.raises(ProviderUnavailable) as caught:
            transport.send(Request("POST", server.url(), body=b"two"))
    assert not caught.value.sent
    assert len(server.requests) == 1


def test_a_write_into_a_half_closed_connection_may_have_arrived(serve, monkeypatch):
    from valetkey.transport import wire

    server = serve.once(OK)
    with Transport() as transport:
        transport.send(Request("POST", server.url(), body=b"one"))
        monkeypatch.setattr(wire.PlainConnection, "is_connected", True)
        assert server.gone.wait(30)
        with pytest.raises(ProviderUnavailable) as caught:
            transport.send(Request("POST", server.url(), body=b"two"))
    assert caught.value.sent


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://login.example/token", InsecureUrl),
        ("http://127.0.0.1.evil.example/", InsecureUrl),
        ("http://127.1/", InsecureUrl),
        ("ftp://127.0.0.1/", InvalidInput),
        ("https://user:pass@login.example/", InvalidInput),
        ("https://login.example/\r\nX: y", InvalidInput),
        ("https://login.example/ü", InvalidInput),
        ("https://lögin.example/", InvalidInput),
        ("https://login%2eexample/", InvalidInput),
        ("https://login.example:99999/", InvalidInput),
        ("https:///path", InvalidInput),
    ],
)
def test_a_url_that_may_not_be_asked_is_refused(send, url, error):
    with pytest.raises(error):
        send(Request("GET", url))


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "a\x7f", "snow ☃"])
def test_a_header_that_would_be_two_is_refused_without_being_shown(serve, send, value, canary):
    server = serve(OK)
    secret = canary.make()
    with pytest.raises(InvalidInput) as caught:
        send(Request("GET", server.url(), headers={"Authorization": secret + value}))
    canary.assert_absent(caught.value.explain(), repr(caught.value))
    assert server.connections == 0


@pytest.mark.parametrize(
    ("method", "name"), [("GET /x HTTP/1.1\r\nX:", "X"), ("", "X"), ("GET", "X: y\r\nZ"), ("GET", "")]
)
def test_a_method_or_header_name_that_is_no_word_is_refused(send, method, name):
    with pytest.raises(InvalidInput):
        send(Request(method, "https://login.example/", headers={name: "v"}))


def test_no_failure_shows_more_of_a_request_than_host_and_port(serve, send, canary, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.DEBUG)
    secrets = [canary.make(name) for name in ("path", "query", "body", "header")]
    path, query, body, header = secrets
    ends = [
        serve.once(b"").port,
        serve.once(f"HTTP/1.1 200 OK\r\n{header}\r\n\r\n".encode()).port,
        serve.once(f"{body}\r\n\r\n".encode()).port,
        serve.once(f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{query}"[:40].encode()).port,
        serve(OK).port,
        free_port(),
    ]
    shown = []
    for port in ends:
        request = Request(
            "POST",
            f"http://127.0.0.1:{port}/{path}?secret={query}",
            headers={"Authorization": f"Bearer {header}"},
            body=body.encode(),
        )
        try:
            send(request)
        except Exception as error:  # noqa: BLE001  # whatever it is, it may not show them
            shown += [repr(error.evidence), error.explain(), "".join(traceback.format_exception(error))]
    assert len(shown) >= 12, "the servers were meant to fail"
    canary.assert_absent(*shown, caplog.text)


async def test_a_cancelled_caller_is_cancelled(serve):
    server = serve(lambda connection, server: server.read(connection) and server.go_on.wait(30))
    async with AsyncTransport("aiohttp") as transport:
        task = asyncio.create_task(transport.send(Request("POST", server.url(), body=b"x")))
        assert await asyncio.to_thread(server.arrived.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_outer_time_out_is_not_taken_for_the_providers(serve):
    server = serve(lambda connection, server: server.read(connection) and server.go_on.wait(30))
    async with AsyncTransport("aiohttp") as transport:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT):
                await transport.send(Request("POST", server.url(), body=b"x"))


def test_an_interrupt_passes_and_the_connection_is_not_used_again(serve, monkeypatch):
    from valetkey.transport import wire

    server = serve(OK)
    with Transport() as transport:
        transport.send(Request("GET", server.url()))
        real = wire.read_body

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(wire, "read_body", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transport.send(Request("GET", server.url()))
        monkeypatch.setattr(wire, "read_body", real)
        assert transport.send(Request("GET", server.url())).status == 200
    assert server.connections == 2


def test_a_recipe_that_prints_what_http_client_sends_prints_nothing_of_ours(serve, send, canary, loud, capsys):
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    secret = canary.make("client secret")
    headers = {"authorization": f"Basic {secret}"}
    assert send(Request("POST", server.url(f"?token={secret}"), headers=headers, body=secret.encode())).status == 200
    canary.assert_absent(loud.text, capsys.readouterr().out)
    assert "send: " not in loud.text
