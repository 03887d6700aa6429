"""The keeper for asyncio: the same plans, the same memory, never blocking the event loop.

Blocking work runs on threads of its own (flights.py) and not on the loop's executor, which has six on two cores and is
shared with the user's program. A caller that is cancelled leaves; the work goes on, and the next one finds its result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Self, TypeVar

from valetkey.audit.line import Line
from valetkey.providers.schema import GrantName
from valetkey.values import Secret, Token
from valetkey.vault.forecast import Forecast
from valetkey.vault.keeper import Keeper
from valetkey.vault.pace import CONCURRENCY, Kept, Tally
from valetkey.vault.views import AppInfo, ConnectionInfo, Credential

if TYPE_CHECKING:
    from valetkey.vault.appsecret import AsyncAppSecret
    from valetkey.vault.connect import Started, Wish
    from valetkey.vault.device import DeviceStarted
    from valetkey.vault.disconnect import Revocation

T = TypeVar("T")


class AsyncKeeper:
    """Keep connections, for coroutines. May share a `Keeper` with threads of the same process."""

    def __init__(self, keeper: Keeper) -> None:
        self.sync = keeper

    async def token(
        self, name: str, *, scopes: Sequence[str] = (), part: str = "", resource: str = "", audience: str = ""
    ) -> Token:
        """Return a fresh access token; see Keeper.token."""
        wishes = (*scopes, part, resource, audience)
        held = None if any(wishes) else self.sync.remembered(name)
        if held is not None:
            return held
        return await self._aside(
            lambda: self.sync.token(name, scopes=scopes, part=part, resource=resource, audience=audience),
            *("token", name, *wishes),
        )

    async def renewed(self, name: str, rejected: Token) -> Token:
        """Return a token other than one an API has just refused; see Keeper.renewed."""
        return await self._aside(lambda: self.sync.renewed(name, rejected))

    async def refresh(self, name: str) -> Token:
        """Renew now; see Keeper.refresh."""
        return await self._aside(lambda: self.sync.refresh(name))

    async def refresh_connection(self, name: str) -> ConnectionInfo:
        """Renew now, and hand no token out; see Keeper.refresh_connection."""
        return await self._aside(lambda: self.sync.refresh_connection(name))

    async def credential(self, name: str) -> Credential:
        """Return what an injector needs; see Keeper.credential."""
        grip = self.sync.remembered_credential(name)
        return grip if grip is not None else await self._aside(lambda: self.sync.credential(name), "credential", name)

    async def begin(self, name: str, *, redirect_uri: str, binding: Secret, wish: Wish | None = None) -> Started:
        """Make a link to consent by; see Keeper.begin."""
        return await self._aside(lambda: self.sync.begin(name, redirect_uri=redirect_uri, binding=binding, wish=wish))

    async def finish(self, answer: str, *, binding: Secret) -> ConnectionInfo:
        """Take what came to the redirect URI; see Keeper.finish."""
        return await self._aside(lambda: self.sync.finish(answer, binding=binding))

    async def connect_machine(self, name: str, grant: GrantName, *, wish: Wish | None = None) -> ConnectionInfo:
        """Obtain the first token where no person is needed; see Keeper.connect_machine."""
        return await self._aside(lambda: self.sync.connect_machine(name, grant, wish=wish))

    async def begin_device(self, name: str, *, wish: Wish | None = None) -> DeviceStarted:
        """Ask for a code that a person types elsewhere; see Keeper.begin_device."""
        return await self._aside(lambda: self.sync.begin_device(name, wish=wish))

    async def finish_device(self, started: DeviceStarted) -> ConnectionInfo:
        """Wait until the person has typed the code; see Keeper.finish_device."""
        return await self._aside(lambda: self.sync.finish_device(started))

    async def disconnect(self, name: str, *, force: bool = False) -> Revocation:
        """Revoke and forget; see Keeper.disconnect."""
        return await self._aside(lambda: self.sync.disconnect(name, force=force))

    async def connection(self, name: str) -> ConnectionInfo:
        """Return a connection as it may be shown; see Keeper.connection."""
        return await self._aside(lambda: self.sync.connection(name))

    async def connections(self, app: str = "") -> list[ConnectionInfo]:
        """Return all connections, or those of one app; see Keeper.connections."""
        return await self._aside(lambda: list(self.sync.connections(app)))

    async def app(self, name: str) -> AppInfo:
        """Return an app as it may be shown; see Keeper.app."""
        return await self._aside(lambda: self.sync.app(name))

    def app_secret(self, name: str) -> AsyncAppSecret:
        """Return an app's secrets, to change them without an outage; see Keeper.app_secret."""
        from valetkey.vault.appsecret import AsyncAppSecret  # late, as in Keeper

        return AsyncAppSecret(self.sync.app_secret(name), self._aside)

    async def events(self, limit: int = 50) -> list[Line]:
        """Return the last lines of the audit log; see Keeper.events."""
        return await self._aside(lambda: self.sync.events(limit))

    async def keep(
        self, *, once: bool = False, concurrency: int = CONCURRENCY, report: Callable[[Kept], None] | None = None
    ) -> Tally:
        """Renew what falls due until the task is cancelled; what is under way then is finished. See Keeper.keep."""
        stop = threading.Event()
        try:
            return await self._aside(lambda: self.sync.keep(stop, once=once, concurrency=concurrency, report=report))
        finally:
            stop.set()

    async def forecasts(self, within: timedelta | None = None) -> list[Forecast]:
        """Return what will end, the soonest first; see Keeper.forecasts."""
        return await self._aside(lambda: self.sync.forecasts(within))

    async def aclose(self) -> None:
        """Wait for what is under way, then let go of the store; see Keeper.close."""
        import asyncio  # late: see landing

        await asyncio.to_thread(self.sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.sync!r}>"

    async def _aside(self, work: Callable[[], T], *key: object) -> T:
        """Do blocking work on a thread of its own, shared by all who wait for the same key."""
        return await landing(self.sync.aside(key or (object(),), work))


async def landing(flight: Future[T]) -> T:
    """Wait for a flight. A caller that is cancelled leaves; the flight goes on, also when the loop has ended."""
    import asyncio  # late: scripts and the command line import this file too, and have no event loop

    loop = asyncio.get_running_loop()
    landed = loop.create_future()

    def tell() -> None:
        if not landed.done():
            landed.set_result(None)

    def wake(_: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(tell)

    flight.add_done_callback(wake)
    await landed
    return flight.result()
