"""A 401 from a bound host: one other token, one replay, and never a second."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import httpx
import pytest
import requests

from valetkey.errors import NeedsReconnect, ProviderTimeout, StoreUnavailable
from valetkey.inject import aiohttp as for_aiohttp
from valetkey.inject import httpx as for_httpx
from valetkey.inject import requests as for_requests

pytestmark = pytest.mark.network

FIRST = "Bearer fake-token-number-1"
SECOND = "Bearer fake-token-number-2"


def test_a_refused_token_is_renewed_once_and_the_request_sent_again(either, api, source):
    api.accepted = {"fake-token-number-2"}
    answer = either(source, "POST", api.url("/things"), content=b"the body")
    assert (answer.status, source.refreshes) == (200, 1)
    assert api.tokens() == [FIRST, SECOND]
    assert [(seen.method, seen.body) for seen in api.seen] == [("POST", b"the body")] * 2


def test_the_log_is_told_of_both_tokens(either, api, source):
    api.accepted, source.lasting, source.headers = {"fake-token-number-2"}, True, {}
    assert either(source, "GET", api.url()).status == 200
    assert source.told == [("fake-token-number-1", api.host, ""), ("fake-token-number-2", api.host, "")]


def test_the_clients_history_shows_no_renewal(call, api, source):
    api.accepted = {"fake-token-number-2"}
    assert call(source, "GET", api.url()).history == ()


def test_the_connection_of_the_refused_request_is_used_again(either, api, source):
    api.accepted = {"fake-token-number-2"}
    either(source, "GET", api.url())
    assert len({seen.peer for seen in api.seen}) == 1


def test_a_connection_is_used_again_also_where_the_refusals_body_comes_late(either, api, source):
    api.accepted, api.late = {"fake-token-number-2"}, threading.Event()
    source.on_renewal = api.late.set
    either(source, "GET", api.url())
    assert len({seen.peer for seen in api.seen}) == 1


def test_a_long_refusal_is_not_read_to_its_end(either, api, source):
    api.accepted, api.refusal = {"fake-token-number-2"}, b"x" * (4 << 20)
    assert either(source, "GET", api.url()).status == 200
    assert api.tokens() == [FIRST, SECOND]


def test_an_api_that_refuses_every_token_is_asked_twice_and_its_second_answer_given(either, api, source):
    api.accepted = set()
    answer = either(source, "GET", api.url())
    assert (answer.status, answer.headers["x-refusal"], answer.text) == (401, "kept", '{"error": "invalid_token"}')
    assert (api.tokens(), source.refreshes) == ([FIRST, SECOND], 1)


@pytest.mark.parametrize(
    "error",
    [
        NeedsReconnect("connection sandbox/alice must be connected again", reason="invalid_grant", fix="connect again"),
        ProviderTimeout("no answer in 30 seconds"),
        StoreUnavailable("the disk is full"),
    ],
    ids=lambda error: error.code,
)
def test_where_no_other_token_can_be_had_the_refusal_is_given_unchanged(either, api, source, error, caplog):
    api.accepted, source.error = set(), error
    answer = either(source, "GET", api.url("/private-path?q=1"))
    assert (answer.status, answer.headers["x-refusal"], answer.text) == (401, "kept", '{"error": "invalid_token"}')
    assert api.tokens() == [FIRST]
    (record,) = [record for record in caplog.records if record.name == "valetkey.inject"]
    assert (record.levelno, error.code in record.getMessage()) == (logging.WARNING, True)
    assert "fake-token" not in record.getMessage()
    assert "private-path" not in record.getMessage()


def test_the_same_token_again_is_not_sent_again(either, api, source):
    api.accepted, source.stuck = set(), True
    assert either(source, "GET", api.url()).status == 401
    assert api.tokens() == [FIRST]


@pytest.mark.parametrize("status", [200, 400, 403, 404, 429, 500, 503])
def test_no_other_answer_leads_to_a_renewal(either, api, source, status):
    answered = api.answer
    api.answer = lambda path, authorization: (status, *answered(path, authorization)[1:])
    assert either(source, "GET", api.url()).status == status
    assert (len(api.seen), source.asked) == (1, [])


def test_a_401_of_a_host_that_is_not_bound_leads_to_no_renewal(either, other, source):
    other.accepted = set()
    assert either(source, "GET", other.url()).status == 401
    assert (other.tokens(), source.asked) == ([None], [])


def test_a_401_of_another_host_after_a_redirect_leads_to_no_renewal(either, api, other, source):
    other.accepted = set()
    assert either(source, "GET", api.redirect(other.url())).status == 401
    assert (api.tokens(), other.tokens(), source.asked) == ([FIRST], [None], [])


@pytest.mark.parametrize("status", [307, 308])
def test_a_hop_after_a_redirect_is_replayed_with_its_body(call, api, source, status):
    api.accepted = {"fake-token-number-2"}
    answer = call(source, "POST", api.redirect("/landing", status), content=b"the body")
    assert (answer.status, answer.history) == (200, (status,))
    assert api.tokens() == [FIRST, FIRST, SECOND]
    assert [seen.body for seen in api.seen] == [b"the body"] * 3


def test_a_hop_that_a_303_made_a_get_is_replayed_as_one_and_the_post_is_not_sent_twice(call, api, source):
    api.accepted = {"fake-token-number-2"}
    call(source, "POST", api.redirect("/landing", 303), content=b"the body")
    assert [(seen.method, seen.body) for seen in api.seen] == [("POST", b"the body"), ("GET", b""), ("GET", b"")]


def test_the_short_form_never_sends_the_first_hop_of_a_redirect_twice(short, api, source):
    api.accepted = {"fake-token-number-2"}
    short(source, "POST", api.redirect("/landing", 303), content=b"the body")
    assert [seen.method for seen in api.seen if seen.path.startswith("/redirect")] == ["POST"]


# ── bodies ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_open_file_is_wound_back_to_where_it_stood(either, api, source, tmp_path, request):
    if "async" in request.node.callspec.id and "httpx" in request.node.callspec.id:
        pytest.skip("httpx.AsyncClient sends no synchronous files")
    api.accepted = {"fake-token-number-2"}
    path = tmp_path / "body"
    path.write_bytes(b"read before|the body")
    with path.open("rb") as file:
        file.read(len(b"read before|"))
        headers = {"content-length": "8"} if "httpx" in request.node.callspec.id else {}
        assert either(source, "POST", api.url(), content=file, headers=headers).status == 200
    assert [seen.body for seen in api.seen] == [b"the body"] * 2


def test_a_form_with_a_file_is_replayed_whole(api, source):
    api.accepted = {"fake-token-number-2"}
    with httpx.Client(transport=for_httpx.Transport(source, source.name)) as client:
        form = {"file": ("a.txt", io.BytesIO(b"the file"))}
        assert client.post(api.url(), data={"name": "value"}, files=form).status_code == 200
    first, second = (seen.body for seen in api.seen)
    assert (first == second, b"the file" in first) == (True, True)


def pieces():
    yield b"the "
    yield b"body"


async def async_pieces():
    for piece in pieces():
        yield piece


def test_a_generator_is_sent_once_and_the_token_renewed_for_the_next_request(either, api, source, request):
    api.accepted = {"fake-token-number-2"}
    client = request.node.callspec.id
    body = async_pieces() if "async" in client or "aiohttp" in client else pieces()
    assert either(source, "POST", api.url(), content=body).status == 401
    assert [seen.body for seen in api.seen] == [b"the body"]
    assert source.refreshes == 1
    assert either(source, "GET", api.url()).status == 200


def test_a_body_that_is_refused_while_it_is_still_sent_is_replayed_whole(either, api, source, request):
    api.accepted, api.early = {"fake-token-number-2"}, True
    body = bytes(range(256)) * (8 << 12)  # 8 MB: more than the buffers of two sockets hold
    sent = io.BytesIO(body) if "aiohttp" in request.node.callspec.id else body  # aiohttp warns of large bytes
    assert either(source, "POST", api.url(), content=sent).status == 200
    assert api.tokens() == [FIRST, SECOND]
    assert api.seen[-1].body == body


# ── many at once ──────────────────────────────────────────────────────────────────────────────────────────────


class AllTogether:
    """Hold up the first answers of an API until so many requests have come, so that all see the refused token."""

    def __init__(self, api, parties: int) -> None:
        self._barrier = threading.Barrier(parties)
        self._answer = api.answer
        api.answer = self

    def __call__(self, path, authorization):
        if authorization == FIRST:
            self._barrier.wait(timeout=30)
        return self._answer(path, authorization)


def test_32_threads_that_are_refused_at_once_cost_one_refresh(api, source):
    api.accepted = {"fake-token-number-2"}
    AllTogether(api, 32)
    limits = httpx.Limits(max_connections=64)
    inner = httpx.HTTPTransport(limits=limits)
    transport = for_httpx.Transport(source, source.name, inner)
    with httpx.Client(transport=transport, timeout=30) as client, ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(lambda _: client.get(api.url()).status_code, range(32)))
    assert (statuses, source.refreshes) == ([200] * 32, 1)
    assert sorted(api.tokens()) == [FIRST] * 32 + [SECOND] * 32


def test_32_threads_of_one_session_that_are_refused_at_once_cost_one_refresh(api, source):
    api.accepted = {"fake-token-number-2"}
    AllTogether(api, 32)
    adapter = for_requests.Adapter(source, source.name, requests.adapters.HTTPAdapter(pool_maxsize=64))
    with for_requests.Session(adapter) as session, ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(lambda _: session.get(api.url(), timeout=30).status_code, range(32)))
    assert (statuses, source.refreshes) == ([200] * 32, 1)


@pytest.mark.parametrize("client", ["httpx", "aiohttp"])
async def test_32_tasks_that_are_refused_at_once_cost_one_refresh(client, api, source):
    api.accepted = {"fake-token-number-2"}
    AllTogether(api, 32)
    if client == "httpx":
        transport = for_httpx.AsyncTransport(source.for_coroutines(), source.name)
        async with httpx.AsyncClient(transport=transport, timeout=30) as httpx_client:
            answers = await asyncio.gather(*(httpx_client.get(api.url()) for _ in range(32)))
            statuses = [answer.status_code for answer in answers]
    else:
        carry = for_aiohttp.middleware(source.for_coroutines(), source.name)
        async with aiohttp.ClientSession(middlewares=(carry,)) as session:
            answers = await asyncio.gather(*(session.get(api.url()) for _ in range(32)))
            statuses = [answer.status for answer in answers]
            for answer in answers:
                answer.release()
    assert (statuses, source.refreshes) == ([200] * 32, 1)


@pytest.mark.parametrize("client", ["httpx", "httpx auth", "aiohttp"])
async def test_a_request_cancelled_during_the_renewal_lets_go_of_its_connection(client, api, source):
    """The pool has one place: a connection that was not given back would block the next request for ever."""
    api.accepted, api.late = {"fake-token-number-2"}, threading.Event()
    aside = source.for_coroutines()
    aside.gate, aside.waiting = asyncio.Event(), asyncio.Event()
    one = httpx.Limits(max_connections=1)
    if client == "httpx":
        inner = httpx.AsyncHTTPTransport(limits=one)
        made = httpx.AsyncClient(transport=for_httpx.AsyncTransport(aside, source.name, inner), timeout=10)
    elif client == "httpx auth":
        made = httpx.AsyncClient(auth=for_httpx.Auth(source, aside, source.name), limits=one, timeout=10)
    else:
        carry = for_aiohttp.middleware(aside, source.name)
        made = aiohttp.ClientSession(middlewares=(carry,), connector=aiohttp.TCPConnector(limit=1))
    async with made:
        asked = asyncio.create_task(_status(made, api.url()))
        await asyncio.wait_for(aside.waiting.wait(), 30)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        api.late.set()
        aside.gate.set()
        assert await asyncio.wait_for(_status(made, api.url()), 30) == 200


async def _status(client, url: str) -> int:
    answer = await client.get(url)
    if isinstance(answer, httpx.Response):
        return answer.status_code
    async with answer:
        return answer.status


@pytest.mark.parametrize("client", ["httpx", "requests"])
@pytest.mark.timeout(30)  # a place in the pool that is not given back is waited for, for ever
def test_a_source_that_breaks_does_not_cost_the_connection_its_place(client, api, source):
    api.accepted = {"fake-token-number-2"}

    def broken():
        source.on_renewal = lambda: None
        raise ZeroDivisionError

    source.on_renewal = broken
    if client == "httpx":
        inner = httpx.HTTPTransport(limits=httpx.Limits(max_connections=1))
        made = httpx.Client(transport=for_httpx.Transport(source, source.name, inner))
    else:
        one = requests.adapters.HTTPAdapter(pool_maxsize=1, pool_block=True)
        made = for_requests.Session(for_requests.Adapter(source, source.name, one))
    with made:
        with pytest.raises(ZeroDivisionError):
            made.get(api.url())
        assert made.get(api.url()).status_code == 200
