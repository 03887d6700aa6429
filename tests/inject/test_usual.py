"""Requests after the first, to the same place: what was decided is used again, and only where nothing differs."""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import replace

import httpx
import pytest

from valetkey.audit.ledger import Query
from valetkey.errors import NotFound
from valetkey.inject import httpx as for_httpx
from valetkey.values import Secret, Token

pytestmark = pytest.mark.network

FIRST = "Bearer fake-token-number-1"
SECOND = "Bearer fake-token-number-2"


@pytest.fixture
def source(source):
    source.headers = {}  # provider headers are looked at for each request, for a caller may set them
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


def test_where_no_token_can_be_had_any_more_nothing_is_sent(ask, api, source):
    real, asked = source.credential, []

    def gone(name):
        asked.append(name)
        if len(asked) > 1:
            raise NotFound("there is no connection called sandbox/alice")
        return real(name)

    source.credential = gone
    with pytest.raises(NotFound):
        ask(get(api.url()), get(api.url()))
    assert api.tokens() == [FIRST]


def test_provider_headers_that_a_caller_sets_are_the_callers_whenever_they_come(ask, api, source):
    source.headers = {"X-Provider-Version": "2022-06-28"}
    ask(get(api.url()), get(api.url(), **{"x-provider-version": "mine"}), get(api.url()))
    assert [seen.headers["x-provider-version"] for seen in api.seen] == ["2022-06-28", "mine", "2022-06-28"]


def test_every_request_is_counted_in_the_audit_log(vault, sandbox):
    with httpx.Client(transport=vault.transport("sandbox/alice")) as client:
        for _ in range(7):
            assert client.get(f"{sandbox.url}/api/whoami").status_code == 200
    vault.recorder.flush()
    lines = [line for line in vault._world.store.ledger.find(Query(), 1000) if line.kind == "token.injected"]
    assert sum(int(line.detail.get("count", "1")) for line in lines) == 7
    assert {line.detail["host"] for line in lines} == {"127.0.0.1"}


def test_a_source_that_only_wants_to_be_told_is_told_of_each(ask, api, source):
    told, real = [], source.credential
    made = replace(real(source.name), told=lambda token, host, reason: told.append((token.reveal(), host, reason)))
    source.credential = lambda _: made
    ask(*[get(api.url())] * 5)
    assert told == [("fake-token-number-1", api.host, "")] * 5


def test_what_is_known_of_a_request_shows_no_token(api, source, canary):
    source.token = lambda: Token(Secret(canary.make("access token")))
    with httpx.Client(transport=for_httpx.Transport(source, source.name)) as client:
        client.get(api.url())
        canary.assert_absent(repr(client._transport._loader._known))
