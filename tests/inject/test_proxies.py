"""Loopback over plain http is trusted because it stays on this machine; what goes by a proxy does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import httpx
import pytest
import requests

from valetkey.inject import httpx as for_httpx
from valetkey.inject import requests as for_requests

pytestmark = pytest.mark.network

FIRST = "Bearer fake-token-number-1"


def by_requests(source, url):
    requests.get(url, auth=for_requests.Auth(source, source.name), timeout=10)


def by_httpx(source, url):
    with httpx.Client(auth=for_httpx.Auth(source, source.for_coroutines(), source.name)) as client:
        client.get(url)


def by_async_httpx(source, url):
    async def call():
        auth = for_httpx.Auth(source, source.for_coroutines(), source.name)
        async with httpx.AsyncClient(auth=auth) as client:
            await client.get(url)

    asyncio.run(call())


short_form = pytest.mark.parametrize("get", [by_requests, by_httpx, by_async_httpx])


@pytest.fixture
def ends(api, other, source) -> SimpleNamespace:
    """Give what a request has to do with: the API, a proxy, and where the token comes from."""
    return SimpleNamespace(api=api, proxy=other, source=source)


@short_form
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_short_form_gives_no_token_to_the_proxy_of_the_environment(get, variable, ends, monkeypatch):
    monkeypatch.setenv(variable, ends.proxy.url())
    get(ends.source, ends.api.url("/me"))
    assert (ends.api.tokens(), ends.proxy.tokens()) == ([], [None])


@short_form
@pytest.mark.parametrize("spared", ["127.0.0.0/8", "127.0.0.1:1", "0.0.1", "localhost", ""])
def test_an_exception_that_clients_read_differently_is_no_exception(get, spared, ends, monkeypatch):
    monkeypatch.setenv("http_proxy", ends.proxy.url())
    monkeypatch.setenv("no_proxy", spared)
    get(ends.source, ends.api.url("/me"))
    assert FIRST not in ends.proxy.tokens()


@short_form
@pytest.mark.parametrize("spared", ["127.0.0.1", "*", "example.com, 127.0.0.1"])
def test_a_host_the_proxy_is_not_for_gets_the_token(get, spared, ends, monkeypatch):
    monkeypatch.setenv("http_proxy", ends.proxy.url())
    monkeypatch.setenv("no_proxy", spared)
    get(ends.source, ends.api.url("/me"))
    assert (ends.api.tokens(), ends.proxy.tokens()) == ([FIRST], [])


def test_what_was_left_out_is_said_with_what_to_do(api, other, source, monkeypatch, caplog):
    monkeypatch.setenv("http_proxy", other.url())
    by_httpx(source, api.url("/me"))
    assert "plain http by a proxy" in caplog.text
    assert "NO_PROXY=127.0.0.1" in caplog.text


def inner(proxy: str) -> httpx.HTTPTransport:
    return httpx.HTTPTransport(proxy=proxy)


class Wrapped(httpx.BaseTransport):
    """Be a transport of somebody else, which may connect to anything."""

    def __init__(self, proxy: str) -> None:
        self._within = inner(proxy)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._within.handle_request(request)

    def close(self) -> None:
        self._within.close()


@pytest.mark.parametrize("make", [inner, Wrapped])
def test_an_inner_transport_with_a_proxy_gives_it_no_token(make, api, other, source):
    with httpx.Client(transport=for_httpx.Transport(source, source.name, make(other.url()))) as client:
        client.get(api.url("/me"))
    assert (api.tokens(), other.tokens()) == ([], [None])


def test_an_inner_async_transport_with_a_proxy_gives_it_no_token(api, other, source):
    async def call():
        carrying = httpx.AsyncHTTPTransport(proxy=other.url())
        transport = for_httpx.AsyncTransport(source.for_coroutines(), source.name, carrying)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get(api.url("/me"))

    asyncio.run(call())
    assert (api.tokens(), other.tokens()) == ([], [None])


def answered(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text=request.headers.get("authorization", "none"))


def test_an_inner_transport_that_connects_to_nothing_has_the_token(source):
    source.hosts = ("127.0.0.1:9",)
    transport = for_httpx.Transport(source, source.name, httpx.MockTransport(answered))
    with httpx.Client(transport=transport) as client:
        assert client.get("http://127.0.0.1:9/").text == FIRST


def test_over_https_a_proxy_does_not_see_the_token_and_so_changes_nothing(source):
    class Opaque(httpx.MockTransport):
        pass

    source.hosts = ("api.example.com",)
    with httpx.Client(transport=for_httpx.Transport(source, source.name, Opaque(answered))) as client:
        assert client.get("https://api.example.com/").text == FIRST
    request = requests.Request("GET", "https://api.example.com/", auth=for_requests.Auth(source, source.name)).prepare()
    assert request.headers["Authorization"] == FIRST
