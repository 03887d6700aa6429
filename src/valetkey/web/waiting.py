"""Connections on which no whole request has come yet: for how long, and how many of them.

uvicorn gives a first request no time to be there by, and its limit counts silent connections as work, so that whoever
opens some hundreds of them shuts everybody else out. Here silence ends after a while, the newest are preferred to the
oldest, and only requests count as work. What may not be here: routes, signals.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from valetkey.web.shield import Asgi, Message, Receive, Send

ARRIVAL_SECONDS: Final = 10.0
"""For a request to be there whole, its body too: ours have a few hundred bytes."""

WAITING_MOST: Final = 400
WAITING_OF_ONE: Final = 100
"""Connections that wait, of all and of one address. A proxy in front is one address, and seldom keeps more open."""

REQUESTS_MOST: Final = 500
HEALTH_SPARE: Final = 20
"""Requests at once; more are answered 503, so that memory stays bounded. /health is asked about when all is taken."""

BUSY: Final = b"valetkey is busy; try again in a moment.\n"


class Lobby:
    """Keep the connections that wait; where there are too many, the one that has waited longest is ended."""

    def __init__(self) -> None:
        self._waiting: dict[Guest, None] = {}  # in the order of their coming
        self._of: dict[str, dict[Guest, None]] = {}

    def enter(self, guest: Guest) -> None:
        """Let one more wait."""
        if guest in self._waiting:
            return
        mine = self._of.setdefault(guest.address, {})
        if len(mine) >= WAITING_OF_ONE:
            self._end(next(iter(mine)))
        elif len(self._waiting) >= WAITING_MOST:
            self._end(next(iter(self._waiting)))
        self._waiting[guest] = None
        self._of.setdefault(guest.address, {})[guest] = None

    def leave(self, guest: Guest) -> None:
        """Forget one that waits no longer."""
        if guest in self._waiting:
            del self._waiting[guest]
            mine = self._of[guest.address]
            del mine[guest]
            if not mine:
                del self._of[guest.address]

    def _end(self, guest: Guest) -> None:
        self.leave(guest)
        guest.transport.abort()


class Guest(HttpToolsProtocol):
    """Be a connection that is ended when its request does not come."""

    def __init__(self, *, lobby: Lobby, config: Config, state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, state, app_state)
        self.address = ""
        self._lobby = lobby
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait."""
        super().connection_made(transport)
        self.address = peer(self.client)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait no longer once a request is there whole."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.more_body and not cycle.response_complete:
            self._stop_waiting()
        else:
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn ends that after a silence."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._lobby.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self.transport.is_closing():
            return
        self._lobby.enter(self)
        if self._deadline is None:
            self._deadline = self.loop.call_later(ARRIVAL_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        self._lobby.leave(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def peer(client: tuple[str, int] | None) -> str:
    """Return whose connection it is: an IPv4 address, or the /64 of an IPv6 one, which is what one host is given."""
    host = client[0] if client else ""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped) if address.ipv4_mapped else address.packed[:8].hex()


class Bounded:
    """Stand before an application and answer 503 when too many requests are under way."""

    def __init__(self, app: Asgi) -> None:
        self._app = app
        self._open = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        room = REQUESTS_MOST + (HEALTH_SPARE if scope.get("path") == "/health" else 0)
        if self._open >= room:
            told = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BUSY)), (b"retry-after", b"2")]
            await send({"type": "http.response.start", "status": 503, "headers": [*told, (b"connection", b"close")]})
            await send({"type": "http.response.body", "body": BUSY})
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
