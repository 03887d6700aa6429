"""Transport: send a Request from any thread, over connections that are kept and used again.

No redirects, no retries, no cookies; TLS is always verified. What may not be here: urllib3 and ssl at import.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from valetkey.errors import ValetkeyError
from valetkey.transport.exchange import CURRENT, IDLE_SECONDS, Exchange, answer, begin
from valetkey.transport.failures import blocked, explained
from valetkey.transport.proxies import from_environment
from valetkey.values import Request, Response

if TYPE_CHECKING:
    import ssl

    from valetkey.transport.wire import Connection

IDLE_PER_HOST: Final = 8
"""Connections kept per host. A thousand threads may send at once, but few do so twice within IDLE_SECONDS."""

Key: TypeAlias = tuple[int, str, str, int, str, bool]


class Transport:
    """Send requests over HTTP. Safe to share between threads; usable again after `close`.

    The environment is read when it is made (HTTPS_PROXY, NO_PROXY), the system's CAs at the first https request.
    """

    def __init__(self) -> None:
        self._proxy = from_environment()
        self._context: ssl.SSLContext | None = None
        self._idle: dict[Key, deque[tuple[float, Connection]]] = {}
        self._lock = threading.Lock()

    def send(self, request: Request) -> Response:
        """Send a request and read the whole answer, whatever its status.

        Raises ProviderTimeout, ProviderUnavailable and TlsFailed with `sent` false when the request surely did not
        reach the server; BadAnswer; ProviderError (blocked_address); InvalidInput and InsecureUrl for a bad request.
        """
        return self.carry(begin(request))

    def carry(self, exchange: Exchange) -> Response:
        """Do what `send` does for an exchange whose time already runs."""
        from valetkey.transport import wire

        proxied = self._proxy.for_target(exchange.target)
        exchange.via = self._proxy.place if proxied else ""
        if proxied and exchange.request.public_only:
            raise blocked(exchange, *wire.BEHIND_PROXY)
        key = self._key(exchange)
        before = CURRENT.set(exchange)
        try:
            connection = self._take(key) or wire.connection_for(
                exchange, self._tls(exchange), self._proxy if proxied else None
            )
            return self._over(connection, exchange, key)
        except ValetkeyError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a library raises holds URLs or headers in its text
            raise explained(error, exchange, garbled=wire.is_garbled(error)) from None
        finally:
            CURRENT.reset(before)

    def _over(self, connection: Connection, exchange: Exchange, key: Key) -> Response:
        from valetkey.transport import wire

        try:
            with closing(wire.ask(connection, exchange)) as response:  # it may hold the socket alone by now
                body = wire.read_body(response, exchange.request.limit)
                read_whole = response.isclosed()
            made = answer(exchange, response.status, response.getheaders(), body)
        except BaseException:
            connection.close()
            raise
        if read_whole and not connection.is_closed:
            self._give(key, connection)
        else:
            connection.close()
        return made

    def close(self) -> None:
        """Close the idle connections; those in use close when they are done."""
        with self._lock:
            shelves, self._idle = self._idle, {}
        for shelf in shelves.values():
            for _, connection in shelf:
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tls(self, exchange: Exchange) -> ssl.SSLContext | None:
        if exchange.target.scheme == "http":
            return None
        with self._lock:
            if self._context is None:
                from valetkey.transport.wire import tls_context

                self._context = tls_context()
            return self._context

    @staticmethod
    def _key(exchange: Exchange) -> Key:
        # The process, because a forked child must not speak on its parent's connections; public_only, because a
        # connection made without that check has not been checked.
        target = exchange.target
        return (os.getpid(), target.scheme, target.host, target.port, exchange.via, exchange.request.public_only)

    def _take(self, key: Key) -> Connection | None:
        """Return the idle connection used last, if the server has not closed it meanwhile."""
        while True:
            with self._lock:
                shelf = self._idle.get(key)
                if not shelf:
                    return None
                since, connection = shelf.pop()
            if time.monotonic() - since <= IDLE_SECONDS and connection.is_connected:
                return connection
            connection.close()

    def _give(self, key: Key, connection: Connection) -> None:
        now = time.monotonic()
        spare: list[Connection] = []
        with self._lock:
            for shelf in self._idle.values():
                while shelf and now - shelf[0][0] > IDLE_SECONDS:
                    spare.append(shelf.popleft()[1])
            self._idle = {name: shelf for name, shelf in self._idle.items() if shelf}
            shelf = self._idle.setdefault(key, deque())
            shelf.append((now, connection))
            if len(shelf) > IDLE_PER_HOST:
                spare.append(shelf.popleft()[1])
        for one in spare:
            one.close()
