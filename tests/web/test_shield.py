"""What every request passes: the name it asks for, the headers it gets, and what is logged of it."""

from __future__ import annotations

import logging
import re

import pytest

from valetkey.web.shield import Shield, host_name

LOOPBACK = "http://127.0.0.1:8400"
PUBLIC = "https://auth.example"


async def ask(url: str, *hosts: str, path: str = "/done", query: bytes = b"", method: str = "GET"):
    """Send one request through the shield; return status and headers, and the path the application saw."""
    seen: list[str] = []
    sent: list[dict] = []

    async def app(scope, _receive, send) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": b""})

    async def send(message) -> None:
        sent.append(message)

    headers = [(b"host", host.encode()) for host in hosts]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": headers}
    await Shield(app, url)(scope, None, send)
    return sent[0]["status"], dict(sent[0]["headers"]), seen


@pytest.mark.parametrize(
    ("url", "host", "taken"),
    [
        (LOOPBACK, "127.0.0.1:8400", True),
        (LOOPBACK, "localhost:8400", True),
        (LOOPBACK, "[::1]:8400", True),
        (LOOPBACK, "127.0.0.1:9000", True),  # a forwarded port
        (LOOPBACK, "evil.example", False),
        (LOOPBACK, "evil.example:8400", False),
        (LOOPBACK, "127.0.0.1.evil.example", False),
        (LOOPBACK, "localhost.evil.example", False),
        (LOOPBACK, "evil.example#127.0.0.1", False),
        (LOOPBACK, "127.0.0.1@evil.example", False),
        (LOOPBACK, "", False),
        (LOOPBACK, "[::1", False),
        (PUBLIC, "auth.example", True),
        (PUBLIC, "AUTH.example:443", True),
        (PUBLIC, "127.0.0.1:8400", True),  # a health check from beside it
        (PUBLIC, "other.example", False),
    ],
)
async def test_only_our_own_names_are_answered(url, host, taken):
    status, _headers, seen = await ask(url, host)
    assert (status, seen) == ((200, ["/done"]) if taken else (421, []))


async def test_a_request_needs_exactly_one_host():
    # RFC 9112 section 3.2: "A server MUST respond with a 400 ... to any request message that lacks a Host header
    # field and to any ... that contains more than one"; 421 is as much a refusal, and the body says why.
    assert (await ask(LOOPBACK))[0] == 421
    assert (await ask(LOOPBACK, "127.0.0.1", "evil.example"))[0] == 421


@pytest.mark.parametrize("header", ["a/b", "a?b", "a#b", "a@b", "a\\b", "[::1"])
def test_a_host_that_is_none_has_no_name(header):
    assert host_name(header) == ""


async def test_pages_are_opened_under_the_name_that_the_cookie_is_for():
    status, headers, seen = await ask(LOOPBACK, "localhost:8400", path="/connect", query=b"app=sandbox&label=a")
    assert (status, seen) == (307, [])
    assert headers[b"location"] == b"http://127.0.0.1:8400/connect?app=sandbox&label=a"
    for path, method in (("/callback", "GET"), ("/health", "GET"), ("/connect/a/b", "POST")):
        assert (await ask(LOOPBACK, "localhost:8400", path=path, method=method))[0] == 200
    assert (await ask(PUBLIC, "localhost:8400", path="/"))[0] == 200, "a proxy in front may ask under any of our names"


async def test_every_answer_carries_what_keeps_it_in_its_place():
    for host in ("127.0.0.1", "evil.example"):
        _status, headers, _seen = await ask(LOOPBACK, host)
        assert headers[b"referrer-policy"] == b"no-referrer"
        assert headers[b"x-content-type-options"] == b"nosniff"
        assert headers[b"x-frame-options"] == b"DENY"
        assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
        assert b"strict-transport-security" not in headers, "it would lock every port of this host to https"
    assert (await ask(LOOPBACK, "127.0.0.1"))[1][b"cache-control"] == b"public", "what an answer says itself counts"
    assert (await ask(LOOPBACK, "evil.example"))[1][b"cache-control"] == b"no-store"
    assert b"strict-transport-security" in (await ask(PUBLIC, "auth.example"))[1]


async def test_the_log_has_neither_query_nor_control_characters(caplog):
    caplog.set_level(logging.INFO, logger="valetkey.access")
    await ask(LOOPBACK, "127.0.0.1", path="/callback", query=b"code=secret-code")
    await ask(LOOPBACK, "127.0.0.1", path="/a\nfake line\x1b[31m" + "x" * 5000)
    first, second = caplog.messages
    assert first.startswith("GET /callback 200 ")
    assert re.fullmatch(r"GET /callback 200 [0-9]+ ms [0-9a-f]{16}", first)
    assert "secret-code" not in caplog.text
    assert "\n" not in second
    assert "\x1b" not in second
    assert len(second) < 900
