"""What comes back: read whole, cut at the limit, never followed, never replayed."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib

import pytest

from valetkey._version import __version__
from valetkey.errors import BadAnswer, ProviderUnavailable
from valetkey.transport import AsyncTransport, Transport
from valetkey.values import Request

pytestmark = pytest.mark.network

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def reply(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_a_request_arrives_as_it_was_given(serve, send):
    server = serve(OK)
    headers = {"content-type": "application/x-www-form-urlencoded", "authorization": "Basic eDp5"}
    response = send(Request("POST", server.url("/a%2Fb/../c?q=1&r=%20"), headers=headers, body=b"grant_type=x"))
    assert (response.status, response.body, response.cut) == (200, b"{}", False)
    assert response.header("content-type") == "application/json"
    first, got, body = server.requests[0]
    assert first == b"POST /a%2Fb/../c?q=1&r=%20 HTTP/1.1"
    assert body == b"grant_type=x"
    assert got == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "content-length": "12",
        "user-agent": f"valetkey/{__version__}",
        **headers,
    } | ({"connection": got["connection"]} if "connection" in got else {})


def test_a_request_without_a_body_sends_none(serve, send):
    server = serve(OK)
    send(Request("GET", server.url("")))
    send(Request("POST", server.url("?x")))
    assert [first for first, _, _ in server.requests] == [b"GET / HTTP/1.1", b"POST /?x HTTP/1.1"]
    assert "content-length" not in server.requests[0][1]
    assert server.requests[1][1]["content-length"] == "0"


def test_the_caller_may_name_another_user_agent(serve, send):
    server = serve(OK)
    send(Request("GET", server.url(), headers={"User-Agent": "other/1"}))
    assert server.requests[0][1]["user-agent"] == "other/1"


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "429 Too Many Requests", "503 Oh"])
def test_every_status_is_an_answer_and_no_error(serve, send, status):
    response = send(Request("POST", serve(reply(b"<html>", "Retry-After: 7", status=status)).url()))
    assert (response.status, response.body, response.header("retry-after")) == (int(status[:3]), b"<html>", "7")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_handed_back_and_not_followed(serve, send, status):
    other = serve(OK)
    server = serve(reply(b"", f"Location: {other.url('/else')}", status=status))
    response = send(Request("GET", server.url()))
    assert (response.status, response.header("location")) == (int(status[:3]), other.url("/else"))
    assert (len(server.requests), other.connections) == (1, 0)


def test_cookies_are_not_kept(serve, send):
    server = serve(reply(b"", "Set-Cookie: a=b; Path=/"))
    send(Request("GET", server.url()))
    send(Request("GET", server.url()))
    assert [("cookie" in headers) for _, headers, _ in server.requests] == [False, False]


def test_repeated_headers_are_joined(serve, send):
    response = send(Request("GET", serve(reply(b"", "X-A: 1", "X-a: 2")).url()))
    assert response.header("x-a") == "1, 2"


def test_a_body_in_chunks_is_put_together(serve, send):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert send(Request("GET", serve(answer).url())).body == b"abcde"


def test_a_body_that_ends_with_the_connection_is_read(serve, send):
    server = serve.once(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert send(Request("GET", server.url())).body == b"abc"


@pytest.mark.parametrize(("length", "cut"), [(9, False), (10, False), (11, True)])
def test_a_body_is_cut_behind_the_limit_and_not_at_it(serve, send, length, cut):
    response = send(Request("GET", serve(reply(b"x" * length)).url(), limit=10))
    assert (response.body, response.cut) == (b"x" * min(length, 10), cut)


def test_an_endless_body_is_cut_and_the_server_is_left(serve, send):
    def forever(connection, server):
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    server = serve(forever)
    response = send(Request("GET", server.url(), limit=100_000))
    assert (len(response.body), response.cut) == (100_000, True)
    assert server.gone.wait(30), "the transport still reads"


def test_gzip_that_nobody_asked_for_is_undone(serve, send):
    response = send(Request("GET", serve(reply(gzip.compress(b'{"a":1}'), "Content-Encoding: gzip")).url()))
    assert (response.body, response.cut) == (b'{"a":1}', False)
    assert response.header("content-encoding") == ""
    assert response.header("content-length") == ""


@pytest.mark.parametrize(("length", "cut"), [(1000, False), (1001, True), (10_000_000, True)])
def test_a_gzip_bomb_is_undone_only_up_to_the_limit(serve, send, length, cut):
    bomb = gzip.compress(b"\0" * length)
    response = send(
        Request("GET", serve(reply(bomb, "Content-Encoding: gzip")).url(), limit=1000 if len(bomb) < 1000 else 10_000)
    )
    assert response.cut == cut
    assert len(response.body) == (10_000 if len(bomb) >= 1000 else 1000)


def packed(body):
    """Compress without the time of day: the bytes name the case, and workers must collect the same names."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"not gzip", "gzip"),
        (packed(b"x" * 100)[:-9], "gzip"),
        (packed(b"x") + b"more", "gzip"),
        (zlib.compress(b"x"), "deflate"),
        (b"x", "br"),
        (packed(packed(b"x")), "gzip, gzip"),
    ],
)
def test_a_coding_that_cannot_be_undone_is_a_bad_answer(serve, send, body, coding):
    server = serve(reply(body, f"Content-Encoding: {coding}"))
    with pytest.raises(BadAnswer) as caught:
        send(Request("GET", server.url()))
    assert caught.value.status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_bad_answer(serve, send, answer):
    server = serve.once(answer)
    with pytest.raises(BadAnswer) as caught:
        send(Request("POST", server.url(), body=b"x"))
    assert caught.value.evidence["sent"] is True
    assert "SSH" not in caught.value.explain()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
    ids=["after the request", "in the headers", "in the body", "in a chunk", "between chunks"],
)
def test_a_connection_cut_in_the_answer_may_have_carried_the_request(serve, send, answer):
    server = serve.once(answer)
    with pytest.raises(ProviderUnavailable) as caught:
        send(Request("POST", server.url(), body=b"x"))
    assert caught.value.sent


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_lost_answer_is_not_asked_for_again(serve, send, method):
    """RFC 9112 section 9.3.1 lets a client repeat a GET; we leave that to the plan, which knows what it costs."""

    def second_time_lost(connection, server):
        server.read(connection)
        connection.sendall(OK)
        server.read(connection)

    server = serve(second_time_lost)
    send(Request(method, server.url()))
    with pytest.raises(ProviderUnavailable) as caught:
        send(Request(method, server.url()))
    assert caught.value.sent
    assert len(server.requests) == 2


def test_connections_are_used_again(serve, send):
    server = serve(OK)
    for _ in range(3):
        send(Request("POST", server.url(), body=b"x"))
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_connection_whose_answer_was_cut_is_not_used_again(serve, send):
    server = serve(reply(b"x" * 1_000_000))  # more than is read at once
    send(Request("GET", server.url(), limit=10))
    send(Request("GET", server.url(), limit=10))
    assert server.connections == 2


def test_a_connection_closed_while_idle_is_noticed_before_use(serve, send):
    def once_and_wait(connection, server):
        if server.read(connection):
            connection.sendall(OK)
            server.go_on.wait()

    server = serve(once_and_wait)
    send(Request("POST", server.url(), body=b"one"))
    server.go_on.set()
    assert server.gone.wait(30)
    assert send(Request("POST", server.url(), body=b"two")).status == 200
    assert (server.connections, len(server.requests)) == (2, 2)


def test_an_answer_nobody_asked_for_is_not_taken_for_the_next_one(serve, send):
    def twice(connection, server):
        while server.read(connection):
            connection.sendall(OK + reply(b"not yours"))
            server.gone.set()

    server = serve(twice)
    send(Request("POST", server.url(), body=b"one"))
    assert send(Request("POST", server.url(), body=b"two")).body == b"{}"


def test_a_closed_transport_starts_anew(serve):
    server = serve(OK)
    with Transport() as transport:
        transport.send(Request("GET", server.url()))
    transport.send(Request("GET", server.url()))
    transport.close()
    assert server.connections == 2


def echo(connection, server):
    """Answer each request with its body of 64 bytes."""
    data = b""
    while more := connection.recv(65536):
        data += more
        _, end, body = data.partition(b"\r\n\r\n")
        if end and len(body) == 64:
            connection.sendall(reply(body))
            data = b""


def test_many_threads_each_get_their_own_answer(serve):
    server, wrong = serve(echo), []
    with Transport() as transport:

        def work(number: int) -> None:
            for turn in range(5):
                body = f"{number}.{turn}".encode().ljust(64)
                got = transport.send(Request("POST", server.url(), body=body)).body
                if got != body:
                    wrong.append((body, got))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


async def test_many_tasks_each_get_their_own_answer_while_others_are_cancelled(serve):
    server = serve(echo)

    async def work(number: int) -> list[bool]:
        right = []
        for turn in range(5):
            body = f"{number}.{turn}".encode().ljust(64)
            right.append((await transport.send(Request("POST", server.url(), body=body))).body == body)
        return right

    async with AsyncTransport("aiohttp") as transport:
        tasks = [asyncio.create_task(work(number)) for number in range(64)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks[::3]:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    answers = [right for end in ends if isinstance(end, list) for right in end]
    assert [end for end in ends if isinstance(end, Exception)] == []
    assert answers
    assert all(answers)
