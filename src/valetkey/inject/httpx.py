"""Put a token on the requests of httpx: a transport, which sees every hop, and a short form for `auth=`.

    client = httpx.Client(transport=vault.transport("google/alice"))
    client = httpx.Client(auth=vault.auth("google/alice"))

The transport sends a copy of the request that carries the token, so the client's own request, its hooks, its history
and its redirects never hold it. What may not be here: the rule (rule.py) and the decisions (carrier.py).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self, TypeAlias
from urllib.request import getproxies

import httpcore
import httpx

from valetkey.audit.who import WHO
from valetkey.inject import rule
from valetkey.inject.carrier import DRAINED_MOST, UNAUTHORIZED, Carrier
from valetkey.inject.quiet import hush_httpx
from valetkey.inject.replay import Rewind, bookmark, nothing_to_rewind
from valetkey.inject.rule import BY_PROXY, HeaderLines, Target
from valetkey.inject.source import AsyncSource, Source
from valetkey.vault.views import Credential

PLAIN_POOLS: Final = frozenset({httpcore.ConnectionPool, httpcore.AsyncConnectionPool})
"""What httpx's own transports connect by when they were given no proxy."""

IN_PROCESS: Final = (httpx.MockTransport, httpx.WSGITransport, httpx.ASGITransport)
"""Transports that ask a function of this process."""

HTTPX_OWN: Final = frozenset({httpx.HTTPTransport, httpx.AsyncHTTPTransport})

AUTHORIZATION: Final = b"authorization"


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
        self._loader = _Loader(self._carrier, self._inner, direct=self._direct)

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
        target = _target(request, direct=self._direct)
        try:
            other = self._carrier.another(self._source, credential, target)
            if other is None or rewind is None or not rewind():
                return response
            put = rule.missing(rule.headers(other), _Own(request.headers))
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
        self._loader = _Loader(self._carrier, self._inner, direct=self._direct)

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
        target = _target(request, direct=self._direct)
        try:
            other = await self._carrier.another_async(self._source, credential, target)
            if other is None or rewind is None or not rewind():
                return response
            put = rule.missing(rule.headers(other), _Own(request.headers))
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
        target = _target(request, direct=not _by_environment(request))
        put = self._carrier.put(credential, target, _Own(request.headers))
        if put is None:
            yield request
            return
        rewind = _rewind_of(request.stream)
        with _lent(request, put):
            response = yield request
            if response.status_code != UNAUTHORIZED or response.request is not request:
                return
            other = self._carrier.another(self._source, credential, target)
        if other is None or rewind is None or not rewind():
            return
        with _lent(request, rule.headers(other)):
            response = yield request
        if response.request is request:
            self._carrier.replayed(other, target, response.status_code)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Put the token on, and once another one if the API refuses the first."""
        credential = await self._async_source.credential(self._carrier.name)
        target = _target(request, direct=not _by_environment(request))
        put = self._carrier.put(credential, target, _Own(request.headers))
        if put is None:
            yield request
            return
        rewind = _rewind_of(request.stream)
        with _lent(request, put):
            response = yield request
            if response.status_code != UNAUTHORIZED or response.request is not request:
                return
            other = await self._carrier.another_async(self._async_source, credential, target)
        if other is None or rewind is None or not rewind():
            return
        with _lent(request, rule.headers(other)):
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


def _target(request: httpx.Request, *, direct: bool) -> Target:
    """Return where a request goes; `direct` says that plain http would go there by no proxy."""
    url = request.url
    scheme = url.scheme if direct or url.scheme in rule.ENCRYPTED else url.scheme + BY_PROXY
    return Target(scheme, url.raw_host.decode("ascii"), url.port)


def _is_direct(inner: httpx.BaseTransport | httpx.AsyncBaseTransport) -> bool:
    """Say whether a transport surely connects to the host itself, or to nothing at all.

    httpx has no public word for "this transport has a proxy". What is not known is taken for one that has.
    """
    if isinstance(inner, IN_PROCESS):
        return True
    pool = getattr(inner, "_pool", None)
    return type(pool) in PLAIN_POOLS and getattr(pool, "_proxy", None) is None


def _is_listed() -> bool:
    """Say whether httpx keeps header lines as it did when this was written; where not, each is set the public way."""
    return vars(httpx.Headers({"Name": "value"})) == {"_list": [(b"Name", b"name", b"value")], "_encoding": None}


_LISTED: Final = _is_listed()


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


def _copied(request: httpx.Request) -> httpx.Request:
    """Return a copy of the request, with headers of its own.

    copy.copy would go through httpx's pickling, which drops the body; Request(…) would read the URL again.
    """
    copied = httpx.Request.__new__(httpx.Request)
    copied.__dict__.update(request.__dict__)
    copied.headers = httpx.Headers(request.headers)  # of its own kind: then it copies and does not read them again
    return copied


def _copied_for_httpx(request: httpx.Request) -> httpx.Request:
    """Return a copy with all that httpx's own transports read, and without what a caller may have put on it for others.

    Attributes one by one, in the order of the constructor: CPython reads an object whose __dict__ was touched the slow
    way, and here that would be the caller's request too.
    """
    copied = httpx.Request.__new__(httpx.Request)
    copied.method, copied.url, copied.headers = request.method, request.url, httpx.Headers(request.headers)
    copied.extensions, copied.stream = request.extensions, request.stream
    return copied


class _Own:
    """Say which header lines a request has. httpx itself first finds out how their values are encoded, for 2 µs."""

    __slots__ = ("_headers",)

    def __init__(self, headers: httpx.Headers) -> None:
        self._headers = headers

    def __contains__(self, name: object) -> bool:
        return str(name).lower().encode("ascii") in [own.lower() for own, _value in self._headers.raw]


class _Known:
    """Be how the last request went, for those to the same place. Holds a token, so nothing of it is shown."""

    __slots__ = ("credential", "host", "line", "port", "scheme", "use", "validity")

    def __init__(self, credential: Credential, url: httpx.URL, put: HeaderLines, use: Callable[[], object]) -> None:
        self.credential, self.validity, self.use = credential, credential.validity, use
        self.scheme, self.host, self.port = url.scheme, url.raw_host, url.port
        ((name, value),) = put.items()
        self.line = (name.encode("ascii"), name.lower().encode("ascii"), value.encode("ascii"))


_Loaded: TypeAlias = tuple[Credential, httpx.Request, Rewind | None]


class _Loader:
    """Put the token on requests. It knows how the last one went, and does not decide anew for those to the same place.

    One of thousands is decided; for the others a few comparisons must do, because what the processor has in its caches
    by then is all of sockets. The carrier would decide the same, and is asked wherever anything differs.
    """

    __slots__ = ("_carrier", "_copied", "_direct", "_known")

    def __init__(
        self, carrier: Carrier, inner: httpx.BaseTransport | httpx.AsyncBaseTransport, *, direct: bool
    ) -> None:
        self._carrier = carrier
        self._copied = _copied_for_httpx if type(inner) in HTTPX_OWN else _copied
        self._direct = direct
        self._known: _Known | None = None

    def usual(self, request: httpx.Request) -> _Loaded | None:
        """Return a copy with the header line of the last request, and tell of it; None where it must be decided."""
        known, url = self._known, request.url
        if (
            known is None
            or time.monotonic() >= known.validity.until
            or known.host != url.raw_host
            or known.port != url.port
            or known.scheme != url.scheme
            or type(request.stream) is not httpx.ByteStream  # all else may have to be wound back for a second attempt
            or WHO.get() is not None
        ):
            return None
        carrying = self._copied(request)
        lines = carrying.headers._list  # noqa: SLF001 - to set a line the public way takes as long as all that is done here
        for line in lines:
            if line[1] == AUTHORIZATION:
                return None
        known.use()
        lines.append(known.line)
        return known.credential, carrying, nothing_to_rewind

    def loaded(self, credential: Credential, request: httpx.Request) -> _Loaded | None:
        """Return a copy with our header lines, and how to wind its body back; None for what goes as it was written."""
        target = _target(request, direct=self._direct)
        put = self._carrier.put(credential, target, _Own(request.headers))
        if put is None:
            return None
        # A provider's own lines are looked at each time, for a caller may set them.
        use = credential.again(target.host) if _LISTED and not credential.headers else None
        self._known = None if use is None else _Known(credential, request.url, put, use)
        return credential, self.carrying(request, put), _rewind_of(request.stream)

    def carrying(self, request: httpx.Request, put: HeaderLines) -> httpx.Request:
        """Return a copy of the request with our header lines; none of them is in the original."""
        carrying = self._copied(request)
        for name, value in put.items():
            carrying.headers[name] = value
        return carrying


def _rewind_of(stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> Rewind | None:
    """Return how to wind a body back; None for generators and whatever else can be read once."""
    if isinstance(stream, httpx.ByteStream):
        return nothing_to_rewind
    if not isinstance(stream, httpx.SyncByteStream):
        return None
    # httpx has no public word for "this body is an open file". Where these names are gone, nothing is replayed.
    fields = getattr(stream, "fields", None)
    if fields is None:
        return bookmark([getattr(stream, "_stream", None)])
    files = (getattr(field, "file", b"") for field in fields)
    return bookmark(file for file in files if not isinstance(file, str | bytes))


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
