"""The token is on the wire and nowhere else: not in logs, reprs, errors, histories or hooks."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback

import aiohttp
import httpx
import pytest
import requests

from valetkey.inject import aiohttp as for_aiohttp
from valetkey.inject import httpx as for_httpx
from valetkey.inject import requests as for_requests

pytestmark = pytest.mark.network


@pytest.fixture
def source(source, canary, api):
    """Give a source whose tokens are canaries."""
    texts = {1: canary.make("first token"), 2: canary.make("second token")}
    api.accepted = {texts[2]}

    class Canaries(type(source)):
        @property
        def current(self):
            return texts[self.generation]

    source.__class__ = Canaries
    return source


@pytest.fixture
def nowhere(loud, canary):
    """Turn every logger to DEBUG, and what http.client prints; give an assertion that no token is in log or places."""
    return lambda *places: canary.assert_absent(loud.text, *places)


def test_no_log_and_no_request_in_a_history_holds_the_token(call, api, other, source, nowhere):
    answer = call(source, "GET", api.redirect(other.redirect(api.url("/start"))))
    assert (answer.status, source.refreshes) == (200, 1)
    assert len(set(api.tokens())) == 2, "both tokens were on the wire"
    nowhere(answer.remembered, repr(answer))
    assert "authorization" not in answer.remembered.lower()


def test_no_log_of_the_short_form_holds_the_token(short, api, source, nowhere):
    assert short(source, "GET", api.url()).status == 200
    assert source.refreshes == 1
    nowhere()


def test_a_recipe_that_logs_what_http_client_prints_shows_the_header_without_its_value(api, source, loud):
    with for_requests.Session(for_requests.Adapter(source, source.name)) as session:
        session.get(api.url())
    sent = [record.getMessage() for record in loud.records if record.getMessage().startswith("send: ")]
    assert len(sent) == 2
    assert all("Authorization: …" in line for line in sent)


def test_hooks_of_an_httpx_client_see_one_exchange_and_no_token(api, source, canary):
    seen = []
    hooks = {"request": [lambda request: seen.append(dict(request.headers))]}
    hooks["response"] = [lambda response: seen.append((response.status_code, dict(response.request.headers)))]
    with httpx.Client(transport=for_httpx.Transport(source, source.name), event_hooks=hooks) as client:
        client.get(api.url())
    assert (len(seen), seen[1][0], len(api.seen)) == (2, 200, 2)
    canary.assert_absent(repr(seen))


def test_hooks_of_a_session_see_one_exchange_and_no_token(api, source, canary):
    seen = []
    with for_requests.Session(for_requests.Adapter(source, source.name)) as session:
        session.hooks["response"].append(lambda response, **_: seen.append(dict(response.request.headers)))
        session.get(api.url())
    assert (len(seen), len(api.seen)) == (1, 2)
    canary.assert_absent(repr(seen))


def test_an_httpx_request_sent_again_with_the_short_form_gets_a_fresh_token(api, source, canary):
    with httpx.Client(auth=for_httpx.Auth(source, source.for_coroutines(), source.name)) as client:
        request = client.build_request("GET", api.url())
        statuses = [client.send(request).status_code for _ in range(2)]
    assert (statuses, source.refreshes) == ([200, 200], 1)
    canary.assert_absent(repr(request.headers.raw))


def test_errors_of_aiohttp_show_no_token(api, source, canary):
    source.stuck = True  # the 401 stays, and raise_for_status puts the request's headers into its error

    async def call():
        carry = for_aiohttp.middleware(source.for_coroutines(), source.name)
        async with aiohttp.ClientSession(middlewares=(carry,), raise_for_status=True) as session:
            await session.get(api.url())

    with pytest.raises(aiohttp.ClientResponseError) as refused:
        asyncio.run(call())
    assert "User-Agent" in repr(refused.value), "aiohttp puts request headers into the repr of its errors"
    canary.assert_absent(repr(refused.value), str(refused.value), "".join(traceback.format_exception(refused.value)))


def test_errors_of_clients_that_reach_nobody_show_no_token(call, source, canary):
    source.hosts = (f"127.0.0.1:{_free_port()}",)
    with pytest.raises((httpx.ConnectError, requests.ConnectionError, aiohttp.ClientConnectorError)) as failed:
        call(source, "GET", f"http://{source.hosts[0]}/")
    request = getattr(failed.value, "request", None)
    canary.assert_absent(repr(failed.value), "".join(traceback.format_exception(failed.value)))
    canary.assert_absent(repr(dict(request.headers)) if request is not None else "-")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_reprs_of_the_injectors_name_the_connection_and_no_token(source, canary):
    aside = source.for_coroutines()
    made = [
        for_httpx.Transport(source, source.name),
        for_httpx.AsyncTransport(aside, source.name),
        for_httpx.Auth(source, aside, source.name),
        for_requests.Adapter(source, source.name),
        for_requests.Auth(source, source.name),
    ]
    assert all(source.name in repr(one) for one in made)
    canary.assert_absent(repr(made))


def test_hpacks_lines_with_whole_header_blocks_are_dropped_and_its_others_kept(source, caplog):
    caplog.set_level(logging.DEBUG)
    for_httpx.Transport(source, source.name).close()
    log = logging.getLogger("hpack.hpack")
    log.debug("Encoded header block to %s", b"\x1f\x08\x96\xbaQ")  # a Huffman-coded Authorization
    log.debug("Adding %s=%s to the header table", b"authorization", b"SENSITIVE_REDACTED")
    assert [record.msg for record in caplog.records if record.name == "hpack.hpack"] == [
        "Adding %s=%s to the header table"
    ]
