"""The manners of wire.py and sync.py on aiohttp. Loaded at the first request: aiohttp and asyncio take 200 ms.

What may not be here: retries, redirects, cookies, the environment.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from urllib3.util import wait_for_read
from yarl import URL

from valetkey.errors import ValetkeyError
from valetkey.transport import addresses
from valetkey.transport.exchange import CURRENT, IDLE_SECONDS, LINE_LIMIT, Exchange, answer, headers_of
from valetkey.transport.failures import blocked, explained
from valetkey.transport.proxies import Proxy
from valetkey.transport.wire import BEHIND_PROXY, BLOCK, NOT_PUBLIC, tls_context
from valetkey.values import Response

if TYPE_CHECKING:
    import ssl

    from aiohttp.client_proto import ResponseHandler

NO_AUTOMATIC: Final = frozenset({"Accept", "Content-Type", "Accept-Encoding", "User-Agent"})
"""Headers that aiohttp would add by itself."""


class Sessions:
    """Hold one aiohttp session for each address rule, on the event loop it was made in."""

    def __init__(self, proxy: Proxy) -> None:
        self._loop = asyncio.get_running_loop()
        self._proxy = proxy
        self._context: ssl.SSLContext | None = None
        self._by_rule: dict[bool, aiohttp.ClientSession] = {}

    @property
    def usable(self) -> bool:
        """Say whether this is still the running loop."""
        return self._loop is asyncio.get_running_loop()

    async def carry(self, exchange: Exchange) -> Response:
        """Send a request and read the whole answer; raises as `Transport.send`."""
        proxied = self._proxy.for_target(exchange.target)
        exchange.via = self._proxy.place if proxied else ""
        if exchange.request.public_only:
            if proxied:
                raise blocked(exchange, *BEHIND_PROXY)
            if addresses.literal(exchange.target.host) and not addresses.is_public(exchange.target.host):
                raise blocked(exchange, *NOT_PUBLIC)  # aiohttp asks no resolver for these
        before = CURRENT.set(exchange)
        try:
            async with asyncio.timeout(exchange.left()):
                return await self._over(exchange)
        except ValetkeyError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a library raises holds URLs or headers in its text
            raise explained(error, exchange, garbled=_is_garbled(error)) from None
        finally:
            CURRENT.reset(before)
            if exchange.hang_up is not None:
                exchange.hang_up()

    async def _over(self, exchange: Exchange) -> Response:
        request = exchange.request
        async with self._session(public_only=request.public_only).request(
            request.method,
            _url(exchange),
            data=request.body or None,
            headers=headers_of(request),
            skip_auto_headers=NO_AUTOMATIC,
            allow_redirects=False,
            ssl=self._tls(exchange),
            proxy=self._proxy.url if exchange.via else None,
            auto_decompress=False,
            max_line_size=LINE_LIMIT,
            max_field_size=LINE_LIMIT,
        ) as response:
            body = await _read_body(response, request.limit)
            if len(body) > request.limit:
                response.close()  # the rest is not wanted, so the connection cannot be used again
            fields = [(name, value) for name, value in response.headers.items()]
            return answer(exchange, response.status, fields, body)

    async def close(self) -> None:
        """Close all connections."""
        sessions, self._by_rule = self._by_rule, {}
        for session in sessions.values():
            await session.close()

    def _session(self, *, public_only: bool) -> aiohttp.ClientSession:
        # One for each rule: a connection that was made without the check has not been checked.
        session = self._by_rule.get(public_only)
        if session is None:
            connector = Connector(resolver=Resolver(), use_dns_cache=False, limit=0, keepalive_timeout=IDLE_SECONDS)
            session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                middlewares=(_once,),
                trust_env=False,
            )
            self._by_rule[public_only] = session
        return session

    def _tls(self, exchange: Exchange) -> Any:
        if exchange.target.scheme == "http":
            return True
        if self._context is None:
            self._context = tls_context()
        return self._context


class Connector(aiohttp.TCPConnector):
    """Hand out connections that the server has not closed, and mark from when the request may be on its way."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109  # the signature of aiohttp
        """Connect, or take an idle connection that is still quiet."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or protocol not in self._used or _is_quiet(transport):
                break
            if transport is not None:
                transport.abort()  # nobody is there to say goodbye to
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        exchange = CURRENT.get()
        peer = transport.get_extra_info("peername") if transport is not None else None
        if exchange.request.public_only and (peer is None or not addresses.is_public(str(peer[0]))):
            connection.close()
            raise blocked(exchange, *NOT_PUBLIC)
        exchange.hang_up = partial(_hang_up, connection, transport)
        exchange.asking = exchange.sent = True  # aiohttp does not say when the first byte goes
        return connection


def _hang_up(connection: Any, transport: asyncio.Transport | None) -> None:
    """Close at once a connection that is still ours, or closing: aiohttp would wait for a silent server to agree.

    One that is neither is idle again, or already another's, and is left alone.
    """
    if transport is not None and (transport.is_closing() or connection.protocol is not None):
        transport.abort()


def _is_quiet(transport: asyncio.Transport | None) -> bool:
    """Say whether an idle connection has nothing to read; a close that the loop has not noticed yet can be read."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    return sock is not None and sock.fileno() >= 0 and not wait_for_read(sock, timeout=0.0)


class Resolver(AbstractResolver):
    """Look up names, and refuse those that are not public where the exchange demands it."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look up a name; raises OSError or ProviderError (blocked_address)."""
        exchange = CURRENT.get()
        found = await asyncio.wrap_future(addresses.lookup(host, port))
        if exchange.request.public_only and not addresses.all_public(found):
            raise blocked(exchange, *NOT_PUBLIC)
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
            for kind, _, _, _, address in found
            if family in {socket.AF_UNSPEC, kind}
        ]

    async def close(self) -> None:
        """Do nothing; there is nothing to close."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a GET again after a lost connection: it does so for these two types only."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        exchange = CURRENT.get()
        raise explained(error, exchange) from None


async def _read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    wanted = limit + 1
    while wanted > 0 and (part := await response.content.read(min(wanted, BLOCK))):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _url(exchange: Exchange) -> URL:
    target = exchange.target
    return URL(f"{target.scheme}://{target.place}{target.path}", encoded=True)


def _is_garbled(error: BaseException) -> bool:
    """Say whether the server, and not a proxy, answered something that is not HTTP."""
    return isinstance(error, aiohttp.ClientResponseError) and not isinstance(error, aiohttp.ClientHttpProxyError)
