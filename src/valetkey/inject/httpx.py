"""Put a token on the requests of httpx: a transport, which sees every hop, and a short form for `auth=`.

    client = httpx.Client(transport=vault.transport("google/alice"))
    client = httpx.Client(auth=vault.auth("google/alice"))

The transport sends a copy of the request that carries the token, so the client's own request, its hooks, its history
and its redirects never hold it. What may not be here: the rule (rule.py), the decisions (carrier.py), and how header
lines get onto a request (loader.py).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self
from urllib.request import getproxies

import httpcore
import httpx

from valetkey.inject import rule
from valetkey.inject.carrier import DRAINED_MOST, UNAUTHORIZED, Carrier
from valetkey.inject.loader import Loader, Own, rewind_of, target_of
from valetkey.inject.quiet import hush_httpx
from valetkey.inject.rule import HeaderLines
from valetkey.inject.source import AsyncSource, Source

PLAIN_POOLS: Final = frozenset({httpcore.ConnectionPool, httpcore.AsyncConnectionPool})
"""What httpx's own transports connect by when they were given no proxy."""

IN_PROCESS: Final = (httpx.MockTransport, httpx.WSGITransport, httpx.ASGITransport)
"""Transports that ask a function of this process."""


class Transport(httpx.BaseTransport):
    """Send through `inner` (default: httpx.HTTPTransport()), with the connection's token where it may go.

    Proxies, certificates and HTTP/2 are the inner transport's: httpx does not apply a client's own to a transport it
    is given. Plain http carries the token, on loopback, only where the inner transport surely has no proxy. Requests
    raise httpx's errors, and those of `Keeper.token` where there is no token to send.
    """

    def __init__(self, source: Source, name: str, inner: httpx.BaseTransport | None = None) -> None:
        hush_httpx()
        self._source = source
        self._carrier = Carrier(name)
        self._inner = inner if inner is not None else httpx.HTTPTransport()
        self._direct = _is_direct(self._inner)
        self._loader = Loader(self._carrier, self._inner, direct=self._direct)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one hop, and once more with another token if the API refuses the first."""
        loaded = self._loader.usual(request)
        if loaded is None:
            loaded = self._loader.loaded(self._source.credential(self._carrier.name), request)
        if loaded is None:
            return self._inner.handle_request(request)
        credential, carrying, rewind = loaded
        response = self._inner.handle_request(carrying)
        if response.status_code != UNAUTHORIZED:
            return response
        target = target_of(request, direct=self._direct)
        try:
            other = self._carrier.another(self._source, credential, target)
            if other is None or rewind is None or not rewind():
                return response
            put = rule.missing(self._carrier.replaying(other, target), Own(request.headers))
        except BaseException:
            response.close()
            raise
        _discard(response)
        response = self._inner.handle_request(self._loader.carrying(request, put))
        self._carrier.replayed(other, target, response.status_code)
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._carrier.name} over {type(self._inner).__name__}>"


class AsyncTransport(httpx.AsyncBaseTransport):
    """Send through `inner` (default: httpx.AsyncHTTPTransport()); see Transport. asyncio only."""

    def __init__(self, source: AsyncSource, name: str, inner: httpx.AsyncBaseTransport | None = None) -> None:
        hush_httpx()
        self._source = source
        self._carrier = Carrier(name)
        self._inner = inner if inner is not None else httpx.AsyncHTTPTransport()
        self._direct = _is_direct(self._inner)
        self._loader = Loader(self._carrier, self._inner, direct=self._direct)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one hop, and once more with another token if the API refuses the first."""
        loaded = self._loader.usual(request)
        if loaded is None:
            loaded = self._loader.loaded(await self._source.credential(self._carrier.name), request)
        if loaded is None:
            return await self._inner.handle_async_request(request)
        credential, carrying, rewind = loaded
        response = await self._inner.handle_async_request(carrying)
        if response.status_code != UNAUTHORIZED:
            return response
        target = target_of(request, direct=self._direct)
        try:
            other = await self._carrier.another_async(self._source, credential, target)
            if other is None or rewind is None or not rewind():
                return response
            put = rule.missing(self._carrier.replaying(other, target), Own(request.headers))
        except BaseException:
            await response.aclose()
            raise
        await _discard_async(response)
        response = await self._inner.handle_async_request(self._loader.carrying(request, put))
        self._carrier.replayed(other, target, response.status_code)
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._carrier.name} over {type(self._inner).__name__}>"


class Auth(httpx.Auth):
    """Be the short form: `auth=` of a client or of one request, for httpx.Client and httpx.AsyncClient.

    httpx runs this once and its redirects below, dropping Authorization where they lead to another origin. So it sets
    Authorization and no provider header, a redirect to another of the connection's hosts goes without the token, and
    the client's hooks see the header. Over plain http it sets nothing where the environment names a proxy; a `proxy=`
    of the client cannot be seen here, so with one take the transport. A 401 that came by a redirect is not replayed:
    the first hop may have acted.
    """

    def __init__(self, source: Source, async_source: AsyncSource, name: str) -> None:
        hush_httpx()
        self._source = source
        self._async_source = async_source
        self._carrier = Carrier(name)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Put the token on, and once another one if the API refuses the first."""
        credential = self._source.credential(self._carrier.name)
        target = target_of(request, direct=not _by_environment(request))
        put = self._carrier.put(credential, target, Own(request.headers))
        if put is None:
            yield request
            return
        rewind = rewind_of(request.stream)
        with _lent(request, put):
            response = yield request
            if response.status_code != UNAUTHORIZED or response.request is not request:
                return
            other = self._carrier.another(self._source, credential, target)
        if other is None or rewind is None or not rewind():
            return
        with _lent(request, self._carrier.replaying(other, target)):
            response = yield request
        if response.request is request:
            self._carrier.replayed(other, target, response.status_code)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Put the token on, and once another one if the API refuses the first."""
        credential = await self._async_source.credential(self._carrier.name)
        target = target_of(request, direct=not _by_environment(request))
        put = self._carrier.put(credential, target, Own(request.headers))
        if put is None:
            yield request
            return
        rewind = rewind_of(request.stream)
        with _lent(request, put):
            response = yield request
            if response.status_code != UNAUTHORIZED or response.request is not request:
                return
            other = await self._carrier.another_async(self._async_source, credential, target)
        if other is None or rewind is None or not rewind():
            return
        with _lent(request, self._carrier.replaying(other, target)):
            response = yield request
        if response.request is request:
            self._carrier.replayed(other, target, response.status_code)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._carrier.name}>"


@contextmanager
def _lent(request: httpx.Request, lines: HeaderLines) -> Iterator[None]:
    """Let a request hold the token while it is sent; sent again by its owner, it must not look like the owner's own."""
    request.headers["Authorization"] = lines["Authorization"]
    try:
        yield
    finally:
        request.headers.pop("Authorization", None)


def _is_direct(inner: httpx.BaseTransport | httpx.AsyncBaseTransport) -> bool:
    """Say whether a transport surely connects to the host itself, or to nothing at all.

    httpx has no public word for "this transport has a proxy". What is not known is taken for one that has.
    """
    if isinstance(inner, IN_PROCESS):
        return True
    pool = getattr(inner, "_pool", None)
    return type(pool) in PLAIN_POOLS and getattr(pool, "_proxy", None) is None


def _by_environment(request: httpx.Request) -> bool:
    """Say whether a client that obeys the environment, as httpx does, would ask for plain http by a proxy.

    Its exceptions count only where they name the host itself, or all: every reader of NO_PROXY agrees on those.
    """
    if request.url.scheme in rule.ENCRYPTED:
        return False
    found = getproxies()
    if not (found.get("http") or found.get("all")):
        return False
    spared = {name.strip().lower() for name in found.get("no", "").split(",")}
    return spared.isdisjoint({"*", request.url.host.lower()})


def _discard(response: httpx.Response) -> None:
    """Read what is left of a short answer, so that its connection is used again, and close it."""
    with suppress(httpx.TransportError):
        if isinstance(response.stream, httpx.SyncByteStream):
            left = DRAINED_MOST
            for chunk in response.stream:
                left -= len(chunk)
                if left < 0:
                    break
    response.close()


async def _discard_async(response: httpx.Response) -> None:
    """Read what is left of a short answer, so that its connection is used again, and close it."""
    try:
        with suppress(httpx.TransportError):
            if isinstance(response.stream, httpx.AsyncByteStream):
                left = DRAINED_MOST
                async for chunk in response.stream:
                    left -= len(chunk)
                    if left < 0:
                        break
    finally:
        await response.aclose()
