"""Requests after the first, to the same place: what was decided is used again, and only where nothing differs."""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import replace

import httpx
import pytest

from valetkey.audit.ledger import Query
from valetkey.audit.who import acting
from valetkey.errors import NotFound
from valetkey.inject import httpx as for_httpx
from valetkey.inject import loader
from valetkey.values import Secret, Token

pytestmark = pytest.mark.network

FIRST = "Bearer fake-token-number-1"
SECOND = "Bearer fake-token-number-2"


@pytest.fixture
def source(source):
    source.headers = {}
    source.lasting = True
    return source


@pytest.fixture(params=["sync", "async"])
def ask(request, source):
    """Return what sends requests, one after the other, by one client: (method, url, what else)."""

    def one_by_one(*wanted):
        with httpx.Client(transport=for_httpx.Transport(source, source.name), follow_redirects=True) as client:
            return [client.request(method, url, **what) for method, url, what in wanted]

    async def in_coroutines(*wanted):
        transport = for_httpx.AsyncTransport(source.for_coroutines(), source.name)
        async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
            return [await client.request(method, url, **what) for method, url, what in wanted]

    return one_by_one if request.param == "sync" else lambda *wanted: asyncio.run(in_coroutines(*wanted))


def get(url, **headers):
    return "GET", url, {"headers": headers}


def test_each_of_several_requests_carries_the_token_and_none_of_the_clients_own_does(ask, api):
    done = ask(get(api.url("/1")), get(api.url("/2"), Accept="text/plain"), get(api.url("/3")))
    assert api.tokens() == [FIRST] * 3
    assert [seen.path for seen in api.seen] == ["/1", "/2", "/3"]
    assert [seen.headers["accept"] for seen in api.seen] == ["*/*", "text/plain", "*/*"]
    assert not any("authorization" in response.request.headers for response in done)


def test_a_callers_own_authorization_is_kept_whenever_it_comes(ask, api, caplog):
    ask(get(api.url()), get(api.url(), authorization="Basic mine"), get(api.url()))
    assert api.tokens() == [FIRST, "Basic mine", FIRST]
    assert "already had an Authorization header" in caplog.text


def test_two_authorizations_of_a_caller_are_kept_too(ask, api):
    two = ("GET", api.url(), {"headers": [("Authorization", "Basic one"), ("authorization", "Basic two")]})
    ask(get(api.url()), two)
    assert "fake-token" not in str(api.seen[1].headers)


def test_another_place_is_decided_anew(ask, api, other, caplog):
    caplog.set_level(logging.WARNING)
    ask(get(api.url()), get(other.url()), get(api.url()), get(api.url(host="localhost")))
    assert api.tokens() == [FIRST, FIRST, None]
    assert other.tokens() == [None]
    assert "is not one of the hosts" in caplog.text


def test_a_redirect_leads_a_later_request_to_no_other_host_with_the_token(ask, api, other):
    ask(get(api.url()), get(api.redirect(other.url("/theirs"))))
    assert (api.tokens(), other.tokens()) == ([FIRST, FIRST], [None])


def test_a_refused_token_is_renewed_and_the_next_requests_carry_the_new_one(ask, api, source):
    api.accepted = {"fake-token-number-1"}
    first = get(api.url("/1"))

    def spent():
        api.accepted = {"fake-token-number-2"}
        return "spent"

    api.answer, real = lambda path, auth: spent() and real(path, auth) if path == "/2" else real(path, auth), api.answer
    done = ask(first, ("POST", api.url("/2"), {"content": b"the body"}), get(api.url("/3")))
    assert [response.status_code for response in done] == [200, 200, 200]
    assert api.tokens() == [FIRST, FIRST, SECOND, SECOND]
    assert [seen.body for seen in api.seen] == [b"", b"the body", b"the body", b""]
    assert source.refreshes == 1


def test_a_file_is_wound_back_although_the_request_before_had_none(api, source):
    with httpx.Client(transport=for_httpx.Transport(source, source.name)) as client:
        client.get(api.url())
        api.accepted = {"fake-token-number-2"}
        assert client.post(api.url(), content=io.BytesIO(b"of a file")).status_code == 200
    assert [seen.body for seen in api.seen] == [b"", b"of a file", b"of a file"]


def test_a_generator_is_sent_once_although_the_request_before_had_none(api, source):
    with httpx.Client(transport=for_httpx.Transport(source, source.name)) as client:
        client.get(api.url())
        api.accepted = {"fake-token-number-2"}
        assert client.post(api.url(), content=iter([b"once"])).status_code == 401
    assert api.tokens() == [FIRST, FIRST]


def test_nothing_is_asked_of_the_source_while_a_credential_is_valid(ask, api, source):
    real, asked = source.credential, []
    source.credential = lambda name: asked.append(name) or real(name)
    ask(*[get(api.url())] * 5)
    assert (api.tokens(), len(asked)) == ([FIRST] * 5, 1)
    assert (source.told, source.counted) == ([("fake-token-number-1", api.host, "")], 4)


def test_a_credential_that_ended_is_asked_for_again(ask, api, source):
    real = api.answer

    def renewed_elsewhere(path, authorization):
        source.generation += 1
        source.end()
        return real(path, authorization)

    api.answer = renewed_elsewhere
    ask(get(api.url()), get(api.url()))
    assert api.tokens() == [FIRST, SECOND]


def test_where_no_token_can_be_had_any_more_nothing_is_sent(ask, api, source):
    real, asked = source.credential, []

    def gone(name):
        asked.append(name)
        if len(asked) > 1:
            raise NotFound("there is no connection called sandbox/alice")
        return replace(real(name))

    source.credential = gone
    with pytest.raises(NotFound):
        ask(get(api.url()), get(api.url()))
    assert api.tokens() == [FIRST]


def test_provider_headers_that_a_caller_sets_are_the_callers_whenever_they_come(ask, api, source):
    source.headers = {"X-Provider-Version": "2022-06-28"}
    theirs = get(api.url(), **{"x-provider-version": "mine"})
    ask(theirs, get(api.url()), get(api.url()), theirs, get(api.url()))
    assert [seen.headers["x-provider-version"] for seen in api.seen] == [
        "mine",
        *["2022-06-28"] * 2,
        "mine",
        "2022-06-28",
    ]
    assert api.tokens() == [FIRST] * 5
    assert (len(source.told), source.counted) == (3, 2)


def test_every_request_is_counted_in_the_audit_log(vault, sandbox):
    with httpx.Client(transport=vault.transport("sandbox/alice")) as client:
        for _ in range(7):
            assert client.get(f"{sandbox.url}/api/whoami").status_code == 200
    vault.recorder.flush()
    lines = [line for line in vault._world.store.ledger.find(Query(), 1000) if line.kind == "token.injected"]
    assert sum(int(line.detail.get("count", "1")) for line in lines) == 7
    assert {line.detail["host"] for line in lines} == {"127.0.0.1"}


def test_a_source_that_cannot_count_is_told_of_each(ask, api, source):
    real = source.credential
    source.credential = lambda name: replace(real(name), again=lambda _host: None)
    ask(*[get(api.url())] * 5)
    assert source.told == [("fake-token-number-1", api.host, "")] * 5


def test_a_source_that_changes_what_another_gave_is_asked_each_time(ask, api, source):
    real, hosts = source.credential, iter([(api.bound,), (api.bound,), ()])
    source.credential = lambda name: replace(real(name), hosts=next(hosts))
    ask(*[get(api.url())] * 3)
    assert api.tokens() == [FIRST, FIRST, None]


def test_provider_headers_that_are_one_but_for_their_case_are_sent_once(ask, api, source):
    source.headers = {"authorization": "theirs", "X-A": "1", "x-a": "2"}
    ask(*[get(api.url())] * 3)
    assert api.tokens() == [FIRST] * 3
    assert [seen.headers["x-a"] for seen in api.seen] == ["2"] * 3


def test_what_takes_the_place_of_httpxs_own_sending_sees_the_body(source, monkeypatch):
    """As pytest-httpx and respx do it."""
    seen = []

    def handle_request(_self, request):
        seen.append((request.content, request.headers["authorization"]))
        return httpx.Response(200)

    source.hosts = ("api.example.com",)
    with httpx.Client(transport=for_httpx.Transport(source, source.name)) as client:
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
        for body in (b"one", b"two"):
            client.post("https://api.example.com/", content=body)
    assert seen == [(b"one", FIRST), (b"two", FIRST)]


def test_a_request_that_was_not_read_is_sent_all_the_same(api, source):
    lines = {"host": api.bound, "content-length": "3"}
    with httpx.Client(transport=for_httpx.Transport(source, source.name)) as client:
        for _ in range(2):
            client.send(httpx.Request("PUT", api.url(), headers=lines, stream=httpx.ByteStream(b"abc")))
    assert [seen.body for seen in api.seen] == [b"abc"] * 2


def test_what_is_done_on_behalf_of_somebody_is_told_each_time(ask, api, source):
    with acting("api:billing", request="req-1"):
        ask(*[get(api.url())] * 3)
    assert (len(source.told), source.counted) == (3, 0)


def test_a_transport_of_the_callers_sees_what_the_caller_put_on_the_request(source):
    seen = []

    class Looking(httpx.BaseTransport):
        def handle_request(self, request):
            seen.append((vars(request).get("mark"), request.content, request.headers["authorization"]))
            return httpx.Response(200)

    source.hosts = ("api.example.com",)
    with httpx.Client(transport=for_httpx.Transport(source, source.name, Looking())) as client:
        for mark in ("one", "two"):
            request = client.build_request("POST", "https://api.example.com/", content=b"body")
            request.mark = mark
            client.send(request)
    assert seen == [("one", b"body", FIRST), ("two", b"body", FIRST)]


def test_everything_of_a_request_reaches_httpxs_own_transport(ask, api):
    """Compared with what the client sends by itself: its request line, its headers in order, its body."""
    wanted = (
        "PUT",
        api.url("/a?b=c"),
        {"json": {"n": 1}, "headers": {"X-Mine": "é".encode(), "Cookie": "a=b"}, "timeout": 9},
    )
    with httpx.Client(headers={"Authorization": FIRST}) as client:
        client.request(*wanted[:2], **wanted[2])
    ask(get(api.url()), wanted)
    (bare, _first, injected) = api.seen
    assert (bare.method, bare.path, bare.body) == (injected.method, injected.path, injected.body)
    assert sorted(bare.headers.items()) == sorted(injected.headers.items())


def test_what_is_known_of_a_request_shows_no_token(api, source, canary):
    source.token = lambda: Token(Secret(canary.make("access token")))
    with httpx.Client(transport=for_httpx.Transport(source, source.name)) as client:
        client.get(api.url())
        canary.assert_absent(repr(client._transport._loader._known))


def test_httpx_keeps_header_lines_as_the_short_way_expects():
    assert loader.LISTED, "look at httpx.Headers: each request is decided anew, the public way, which is slower"


def test_where_httpx_keeps_header_lines_otherwise_the_token_is_put_on_the_public_way(ask, api, source, monkeypatch):
    monkeypatch.setattr(loader, "LISTED", False)
    ask(*[get(api.url())] * 3)
    assert api.tokens() == [FIRST] * 3
    assert (len(source.told), source.counted) == (3, 0)
