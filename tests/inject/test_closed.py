"""A client outlives the vault it has its tokens from: from the end of the vault on, it sends nothing."""

from __future__ import annotations

import asyncio

import aiohttp
import httpx
import pytest
import requests

from valetkey.errors import VaultClosed
from valetkey.library import AsyncVault

pytestmark = pytest.mark.network

NAME = "sandbox/alice"


def in_turn(vault, url, get):
    """Use a client twice, close the vault, and use it again."""
    assert [get(url), get(url)] == [200, 200]
    vault.close()
    get(url)


def by_httpx(vault, url, **how):
    with httpx.Client(**how) as client:
        in_turn(vault, url, lambda where: client.get(where).status_code)


def by_httpx_async(vault, url, **how):
    async def call():
        async with httpx.AsyncClient(**how) as client:
            assert [(await client.get(url)).status_code for _ in range(2)] == [200, 200]
            await asyncio.to_thread(vault.close)
            await client.get(url)

    asyncio.run(call())


def by_aiohttp(vault, url):
    async def call():
        async with aiohttp.ClientSession(middlewares=(AsyncVault(vault).aiohttp_middleware(NAME),)) as session:
            for _ in range(2):
                async with session.get(url) as got:
                    assert got.status == 200
            await asyncio.to_thread(vault.close)
            async with session.get(url):
                pass

    asyncio.run(call())


def by_requests(vault, url):
    with vault.session(NAME) as session:
        in_turn(vault, url, lambda where: session.get(where).status_code)


def by_requests_auth(vault, url):
    auth = vault.requests_auth(NAME)
    in_turn(vault, url, lambda where: requests.get(where, auth=auth, timeout=9).status_code)


WAYS = {
    "httpx": lambda vault, url: by_httpx(vault, url, transport=vault.transport(NAME)),
    "httpx auth": lambda vault, url: by_httpx(vault, url, auth=vault.auth(NAME)),
    "httpx async": lambda vault, url: by_httpx_async(vault, url, transport=vault.async_transport(NAME)),
    "httpx async auth": lambda vault, url: by_httpx_async(vault, url, auth=vault.auth(NAME)),
    "aiohttp": by_aiohttp,
    "requests": by_requests,
    "requests auth": by_requests_auth,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_request_is_sent_once_the_vault_is_closed(vault, sandbox, way):
    with pytest.raises(VaultClosed):
        WAYS[way](vault, f"{sandbox.url}/api/whoami")
    assert sandbox.count("api") == 2
