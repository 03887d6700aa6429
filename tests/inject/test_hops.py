"""A redirect is a new question: each hop gets what its own host may have, and no hop gets more."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
import requests

from valetkey.errors import NeedsReconnect
from valetkey.inject import aiohttp as for_aiohttp
from valetkey.inject import requests as for_requests

pytestmark = pytest.mark.network

REDIRECTS = [301, 302, 303, 307, 308]
FIRST = "Bearer fake-token-number-1"


def test_a_bound_host_gets_the_token_and_the_providers_header(call, api, source):
    assert call(source, "GET", api.url("/me")).status == 200
    (seen,) = api.seen
    assert seen.authorization == FIRST
    assert seen.headers["x-provider-version"] == "2022-06-28"


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_to_another_host_does_not_carry_the_token(call, api, other, source, status):
    answer = call(source, "GET", api.redirect(other.url("/landing"), status))
    assert (answer.status, answer.history) == (200, (status,))
    assert api.tokens() == [FIRST]
    (seen,) = other.seen
    assert seen.authorization is None
    assert "x-provider-version" not in seen.headers
    assert "fake-token" not in repr(seen)


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_of_a_request_with_a_body_does_not_carry_the_token(call, api, other, source, status):
    call(source, "POST", api.redirect(other.url("/landing"), status), content=b"the body")
    assert api.tokens() == [FIRST]
    (seen,) = other.seen
    assert "fake-token" not in repr(seen)
    assert "x-provider-version" not in seen.headers
    # RFC 9110 section 15.4.8: 307 and 308 keep method and body.
    assert status not in {307, 308} or (seen.method, seen.body) == ("POST", b"the body")


def test_a_redirect_to_another_port_of_the_same_host_does_not_carry_the_token(call, api, other, source):
    call(source, "GET", api.redirect(other.url("/landing", host="127.0.0.1")))
    assert other.tokens() == [None]


def test_a_redirect_to_another_name_of_the_same_server_does_not_carry_the_token(call, api, source):
    call(source, "GET", api.redirect(api.url("/landing", host="localhost")))
    assert api.tokens() == [FIRST, None]


def test_a_redirect_within_the_bound_host_carries_the_token_at_each_hop(call, api, source):
    assert call(source, "GET", api.redirect(api.redirect("/landing"))).history == (302, 302)
    assert api.tokens() == [FIRST] * 3
    assert [seen.headers["x-provider-version"] for seen in api.seen] == ["2022-06-28"] * 3


def test_a_redirect_to_another_bound_host_carries_the_token(call, api, other, source):
    source.hosts = (api.bound, other.bound)
    call(source, "GET", api.redirect(other.url("/landing")))
    assert (api.tokens(), other.tokens()) == ([FIRST], [FIRST])


def test_a_redirect_back_to_the_bound_host_carries_the_token_again(call, api, other, source):
    call(source, "GET", api.redirect(other.redirect(api.url("/start"))))
    assert (api.tokens(), other.tokens()) == ([FIRST, FIRST], [None])


def test_a_first_hop_to_another_host_that_leads_to_the_bound_one_carries_the_token_there(call, api, other, source):
    assert call(source, "GET", other.redirect(api.url("/start"))).status == 200
    assert (other.tokens(), api.tokens()) == ([None], [FIRST])


@pytest.mark.parametrize("status", REDIRECTS)
def test_the_short_form_sends_nothing_on_to_another_host(short, api, other, source, status):
    short(source, "GET", api.redirect(other.url("/landing"), status))
    assert api.tokens() == [FIRST]
    assert "fake-token" not in repr(other.seen)


def test_the_short_form_sets_no_header_that_a_redirect_would_carry_along(short, api, other, source):
    short(source, "GET", api.redirect(other.url("/landing")))
    assert ["x-provider-version" in seen.headers for seen in (*api.seen, *other.seen)] == [False, False]


def test_a_host_that_is_not_bound_is_reached_without_the_token_and_said_once(either, api, other, source, caplog):
    with caplog.at_level(logging.DEBUG, "valetkey.inject"):
        for _ in range(2):
            assert either(source, "GET", other.url("/private-path?secret=query")).status == 200
    assert other.tokens() == [None, None]
    (record,) = [record for record in caplog.records if record.name == "valetkey.inject"]
    said = record.getMessage()
    assert record.levelno == logging.WARNING
    assert f"`valetkey connect sandbox/alice --host {api.bound} --host {other.bound}`" in said  # none is lost
    assert "private-path" not in said
    assert "secret" not in said


def test_the_same_host_by_another_port_is_not_bound(either, other, source):
    either(source, "GET", other.url(host="127.0.0.1"))
    assert other.tokens() == [None]


def test_a_callers_own_authorization_is_kept_and_said_once(either, api, source, caplog):
    api.accepted = set()
    with caplog.at_level(logging.WARNING, "valetkey.inject"):
        for _ in range(2):
            assert either(source, "GET", api.url(), headers={"Authorization": "Basic b3duOm93bg=="}).status == 401
    assert api.tokens() == ["Basic b3duOm93bg=="] * 2
    assert (source.asked, len(caplog.records)) == ([], 1)
    assert "already had an Authorization header" in caplog.text
    assert "b3du" not in caplog.text


def test_a_callers_own_provider_header_is_kept(call, api, source):
    call(source, "GET", api.url(), headers={"x-provider-version": "2025-09-03"})
    assert [seen.headers["x-provider-version"] for seen in api.seen] == ["2025-09-03"]
    assert api.tokens() == [FIRST]


@pytest.fixture
def _netrc(home, monkeypatch):
    file = home / "netrc"
    file.write_text("machine 127.0.0.1 login netrc password netrc\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


@pytest.mark.usefixtures("_netrc")
def test_a_session_of_ours_does_not_take_the_hosts_password_from_netrc(api, source):
    with for_requests.Session(for_requests.Adapter(source, source.name)) as session:
        session.get(api.redirect("/landing"))
    assert api.tokens() == [FIRST, FIRST]


@pytest.mark.usefixtures("_netrc")
def test_the_adapter_in_a_plain_session_tells_where_the_token_was_left_out_for_netrc(api, source, caplog):
    with requests.Session() as session:
        session.mount("http://", for_requests.Adapter(source, source.name))
        session.get(api.url())
    assert api.tokens() == ["Basic bmV0cmM6bmV0cmM="]
    assert "~/.netrc" in caplog.text


@pytest.mark.parametrize("client", ["requests", "aiohttp"])
def test_plain_http_by_a_proxy_does_not_carry_the_token(client, api, other, source):
    proxy = other.url().rstrip("/")
    if client == "requests":
        with for_requests.Session(for_requests.Adapter(source, source.name)) as session:
            session.get(api.url(), proxies={"http": proxy})
    else:
        asyncio.run(by_proxy_with_aiohttp(source, api.url(), proxy))
    assert (api.tokens(), other.tokens()) == ([], [None])


async def by_proxy_with_aiohttp(source, url, proxy):
    carry = for_aiohttp.middleware(source.for_coroutines(), source.name)
    async with aiohttp.ClientSession(middlewares=(carry,)) as session, session.get(url, proxy=proxy):
        pass


def test_a_connection_that_cannot_give_a_token_says_so_instead_of_sending(either, api, source):
    def refuse(name):
        raise NeedsReconnect(f"connection {name} must be connected again", reason="invalid_grant")

    source.credential = refuse
    with pytest.raises(NeedsReconnect):
        either(source, "GET", api.url())
    assert api.seen == []
