"""The whole of it: a real vault, the sandbox as provider and API, and the clients as a user writes them."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import httpx
import pytest
import requests

import valetkey

pytestmark = pytest.mark.network

NAME = "sandbox/alice"


def with_httpx(vault, url):
    with httpx.Client(transport=vault.transport(NAME), follow_redirects=True) as client:
        return client.get(url).status_code


def with_httpx_auth(vault, url):
    with httpx.Client(auth=vault.auth(NAME), trust_env=False, verify=False) as client:
        return client.get(url).status_code


def with_requests(vault, url):
    with vault.session(NAME) as session:
        return session.get(url).status_code


def with_requests_adapter(vault, url):
    with requests.Session() as session:
        session.mount("http://", vault.requests_adapter(NAME))
        return session.get(url).status_code


def with_requests_auth(vault, url):
    return requests.get(url, auth=vault.requests_auth(NAME), timeout=30).status_code


def with_async_httpx(vault, url):
    return asyncio.run(_httpx_get({"transport": vault.async_transport(NAME)}, url))


def with_async_httpx_auth(vault, url):
    return asyncio.run(_httpx_get({"auth": vault.auth(NAME), "trust_env": False, "verify": False}, url))


def with_async_vault(vault, url):
    return asyncio.run(_httpx_get({"transport": valetkey.AsyncVault(vault).transport(NAME)}, url))


def with_async_vault_auth(vault, url):
    return asyncio.run(
        _httpx_get({"auth": valetkey.AsyncVault(vault).auth(NAME), "trust_env": False, "verify": False}, url)
    )


def with_aiohttp(vault, url):
    return asyncio.run(_aiohttp_get(vault, url))


def with_async_vault_aiohttp(vault, url):
    return asyncio.run(_aiohttp_get(valetkey.AsyncVault(vault), url))


async def _httpx_get(how, url):
    async with httpx.AsyncClient(follow_redirects=True, **how) as client:
        return (await client.get(url)).status_code


async def _aiohttp_get(vault, url):
    middlewares = (vault.aiohttp_middleware(NAME),)
    async with aiohttp.ClientSession(middlewares=middlewares) as session, session.get(url) as answer:
        return answer.status


WAYS = [
    with_httpx,
    with_httpx_auth,
    with_requests,
    with_requests_adapter,
    with_requests_auth,
    with_async_httpx,
    with_async_httpx_auth,
    with_async_vault,
    with_async_vault_auth,
    with_aiohttp,
    with_async_vault_aiohttp,
]
PER_HOP = [with_httpx, with_requests, with_async_httpx, with_aiohttp]


@pytest.mark.parametrize("way", WAYS)
def test_a_token_that_died_unseen_costs_one_refresh_and_no_failed_request(way, vault, sandbox):
    assert way(vault, f"{sandbox.url}/api/whoami") == 200
    sandbox.expire_access_tokens()
    assert way(vault, f"{sandbox.url}/api/whoami") == 200
    assert (sandbox.count("refresh_token", "ok"), sandbox.count("refresh_token")) == (1, 1)
    assert way(vault, f"{sandbox.url}/api/whoami") == 200
    assert sandbox.count("refresh_token") == 1
    assert sandbox.grant_alive("alice")


@pytest.mark.parametrize("way", WAYS)
def test_a_grant_that_was_withdrawn_gives_the_apis_401_and_a_line_that_says_what_to_do(way, vault, sandbox, caplog):
    sandbox.revoke("alice")
    caplog.set_level(logging.WARNING, "valetkey.inject")
    assert way(vault, f"{sandbox.url}/api/whoami") == 401
    (said,) = [record.getMessage() for record in caplog.records if record.name == "valetkey.inject"]
    assert "valetkey connect sandbox/alice" in said


@pytest.mark.parametrize("way", WAYS)
def test_no_log_of_any_library_holds_a_token_of_before_or_after_a_renewal_or_the_client_secret(
    way, vault, sandbox, loud, canary
):
    canary.watch("client secret", sandbox.clients["sandbox-web"].secret.reveal())
    for moment in ("before", "after"):
        tokens = vault._connection(NAME).tokens
        canary.watch(f"access token {moment}", tokens.access.reveal())
        canary.watch(f"refresh token {moment}", tokens.refresh.reveal())
        if moment == "before":
            sandbox.expire_access_tokens()
            assert way(vault, f"{sandbox.url}/api/whoami") == 200
    assert (len(canary.secrets), sandbox.count("refresh_token", "ok")) == (5, 1)
    assert loud.records
    canary.assert_absent(loud.text)


@pytest.mark.parametrize("way", PER_HOP)
def test_a_redirect_from_the_api_to_another_host_does_not_take_the_token_along(way, vault, sandbox, other):
    assert way(vault, f"{sandbox.url}/api/redirect?status=307&to={other.url()}") == 200
    (seen,) = other.seen
    assert seen.authorization is None


def test_32_threads_whose_token_died_at_once_cost_one_refresh(vault, sandbox):
    inner = httpx.HTTPTransport(limits=httpx.Limits(max_connections=32))
    with httpx.Client(transport=vault.transport(NAME, inner), timeout=60) as client, ThreadPoolExecutor(32) as pool:
        assert client.get(f"{sandbox.url}/api/whoami").status_code == 200
        sandbox.expire_access_tokens()
        statuses = list(pool.map(lambda _: client.get(f"{sandbox.url}/api/whoami").status_code, range(32)))
    assert (statuses, sandbox.count("refresh_token")) == ([200] * 32, 1)
    assert sandbox.grant_alive("alice")


async def test_a_request_cancelled_during_the_refresh_leaves_the_new_token_to_the_next(vault, sandbox, monkeypatch):
    """The sandbox kills the grant when a refresh token is used twice, so a refresh lost with its caller would show."""
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    renewed = vault.renewed

    def renewing(name, rejected):
        loop.call_soon_threadsafe(begun.set)
        return renewed(name, rejected)

    async with httpx.AsyncClient(transport=vault.async_transport(NAME), timeout=30) as client:
        assert (await client.get(f"{sandbox.url}/api/whoami")).status_code == 200
        sandbox.expire_access_tokens()
        sandbox.slow_next(0.3)
        monkeypatch.setattr(vault, "renewed", renewing)
        asked = asyncio.create_task(client.get(f"{sandbox.url}/api/whoami"))
        await asyncio.wait_for(begun.wait(), 30)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert (await client.get(f"{sandbox.url}/api/whoami")).status_code == 200
    assert sandbox.count("refresh_token") == 1
    assert sandbox.grant_alive("alice")


def test_no_client_logs_a_token_of_the_vault(vault, sandbox, canary, caplog):
    caplog.set_level(logging.DEBUG)
    canary.watch("first access token", vault.token(NAME).reveal())
    sandbox.expire_access_tokens()
    assert [way(vault, f"{sandbox.url}/api/whoami") for way in WAYS] == [200] * len(WAYS)
    canary.watch("second access token", vault.token(NAME).reveal())
    canary.assert_absent(caplog.text)
