"""AsyncTransport: send a Request without blocking the event loop.

What may not be here: asyncio and aiohttp at import; both load ssl.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Self

from valetkey.transport.exchange import begin
from valetkey.transport.proxies import from_environment
from valetkey.transport.sync import Transport
from valetkey.values import Request, Response

if TYPE_CHECKING:
    from valetkey.transport.aiowire import Sessions


class AsyncTransport:
    """Send requests over HTTP from one event loop at a time; usable again after `aclose`.

    `backend` is aiohttp where it is installed, else the sync transport in a thread: checks, deadlines and errors are
    the same. Sending a request in a thread cannot be cancelled: the caller goes, the request ends by its deadline.
    """

    def __init__(self, backend: Literal["auto", "aiohttp", "thread"] = "auto") -> None:
        if backend == "auto":
            backend = "aiohttp" if find_spec("aiohttp") else "thread"
        self._threads = Transport() if backend == "thread" else None
        self._proxy = from_environment()
        self._sessions: Sessions | None = None

    async def send(self, request: Request) -> Response:
        """Send a request and read the whole answer, whatever its status; raises as `Transport.send`."""
        exchange = begin(request)
        if self._threads is not None:
            import asyncio

            return await asyncio.to_thread(self._threads.carry, exchange)
        from valetkey.transport.aiowire import Sessions

        if self._sessions is None or not self._sessions.usable:
            self._sessions = Sessions(self._proxy)
        return await self._sessions.carry(exchange)

    async def aclose(self) -> None:
        """Close the idle connections."""
        if self._threads is not None:
            self._threads.close()
        sessions, self._sessions = self._sessions, None
        if sessions is not None and sessions.usable:
            await sessions.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
