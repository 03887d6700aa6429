"""Where tokens come from: the half of the keeper that a program needs a thousand times a day.

It remembers opened tokens for a second, and looks into the store after that; only a renewal loads what speaks OAuth.
Thread-safe. What may not be here: making connections and looking at them (keeper.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Self, TypeVar

from valetkey.audit.who import WHO
from valetkey.effects import Plan
from valetkey.errors import NotFound, ValetkeyError, VaultClosed
from valetkey.run import run
from valetkey.values import Token
from valetkey.vault import names
from valetkey.vault.desk import Desk, load_app
from valetkey.vault.flights import Flights
from valetkey.vault.judge import ANY, Demand, Serve, glance
from valetkey.vault.names import part_of
from valetkey.vault.opened import Opened
from valetkey.vault.records import Connection
from valetkey.vault.recover import bring_home
from valetkey.vault.telling import Teller
from valetkey.vault.views import Credential, hosts_of
from valetkey.vault.world import VaultWorld

T = TypeVar("T")


class TokenSource:
    """Give fresh tokens of connections; see Keeper, which is one."""

    def __init__(self, desk: Desk, world: VaultWorld) -> None:
        self._desk, self._world = desk, world
        self.recorder = world.audit  # for what is done beside the vault, and belongs into its log
        self._flights = Flights()
        self._opened = Opened()
        self._teller = Teller(world.audit)

    def token(
        self, name: str, *, scopes: Sequence[str] = (), part: str = "", resource: str = "", audience: str = ""
    ) -> Token:
        """Return a fresh access token, renewed ahead of its expiry, once, whoever asks.

        `resource` or `audience` name one of several APIs behind one grant (Microsoft); `part` names one of several
        tokens in it (Slack: "user"). Each is kept apart.
        Raises NotFound, NotConnected, NeedsReconnect, InsufficientScope, Revoked, Weather or ClientRefused.
        """
        if not (scopes or part or resource or audience):
            held = self.remembered(name)
            return held if held is not None else self._given(name, ANY)
        return self._given(name, Demand(scopes=tuple(scopes), part=part_of(part, resource, audience)))

    def remembered(self, name: str) -> Token | None:
        """Return a token opened within the last second, without touching the store; that it was given is counted."""
        held = self._opened.token(name)
        if held is None:
            return None
        # The way of a thousand calls a second may only count.
        held.use() if WHO.get() is None else self._teller.handed_out(name, held.token)
        return held.token

    def renewed(self, name: str, rejected: Token) -> Token:
        """Return a token other than `rejected`, which an API has just refused with 401; raises as `token` does."""
        self._opened.forget(name)
        return self._given(name, Demand(rejected=rejected.fingerprint()))

    def refresh(self, name: str) -> Token:
        """Renew now, whether it is time or not, and return the new token."""
        self._opened.forget(name)
        return self._given(name, Demand(force=True))

    def credential(self, name: str) -> Credential:
        """Return what an injector needs: a fresh token, the hosts it may go to, and how it is written."""
        grip = self._opened.credential(name)
        if grip is not None:
            return grip
        token = self._given(name, ANY, gives=False)
        since = self._opened.moment()
        connection = self._connection(name)
        app = self._run(load_app(self._desk, connection.app))
        provider = self._desk.provider(app)
        hosts = hosts_of(connection, app, provider)
        scheme, headers = provider.api.scheme, dict(provider.api.headers)
        made = Credential(token, hosts, scheme, headers, *self._teller.injecting(name, token))
        self._opened.keep_credential(name, made, since)
        return made

    def remembered_credential(self, name: str) -> Credential | None:
        """Return what an injector needs if it was made for the token remembered now, without touching the store."""
        return self._opened.credential(name)

    def _served(self, name: str, demand: Demand) -> Serve:
        try:
            entry = self._world.store.load(names.connection_record(name))
            moment = self._world.clock().timestamp()
            served = self._opened.still(name, entry, moment) if demand is ANY else None
            if served is None:
                served = glance(self._desk, name, entry, moment, demand)
        except NotFound:
            # A first consent may have been spilled: the store does not know of it yet.
            if not any(record == names.connection_record(name) for record, _entry in self._world.spilled()):
                raise
            served = None
        if served is not None:
            return served
        return self._flights.join(("obtain", name, demand), lambda: self._obtained(name, demand)).result()

    def _obtained(self, name: str, demand: Demand) -> Serve:
        from valetkey.vault.renew import obtain  # late: while tokens are fresh, nobody speaks OAuth

        bring_home(self._desk, self._world)
        self._world.reserve()
        return self._run(obtain(self._desk, name, demand))

    def _given(self, name: str, demand: Demand, *, gives: bool = True) -> Token:
        """Return the token that is wanted, remember it, and tell the audit log who had it, or why nobody had."""
        try:
            served = self._served(name, demand)
        except ValetkeyError as refusal:
            if not isinstance(refusal, VaultClosed):  # then the log is at its end as well
                self._teller.refused(name, refusal, demand.part)
            raise
        use = (self._teller.handed_out if gives else self._teller.later)(name, served.token, demand.part)
        fresh_for = served.fresh_until - self._world.clock().timestamp()
        if fresh_for > 0 and not demand.part:  # the memory is for what is asked for most
            self._opened.keep(name, served, use, fresh_for)
        return served.token

    def fly(self, key: tuple[object, ...], plan: Plan[T]) -> Future[T]:
        """Run a plan where it outlives its caller; callers with the same key share the result."""
        self._world.reserve()
        return self._flights.join(key, lambda: run(plan, self._world))

    def aside(self, key: tuple[object, ...], work: Callable[[], T]) -> Future[T]:
        """Do work on a thread that outlives the caller; callers with the same key share the result."""
        return self._flights.join(("aside", *key), work)

    def close(self) -> None:
        """Wait for what is under way, write the audit log to its end, let go of the store; then all is VaultClosed."""
        self._opened.end()
        self._flights.end()
        self._world.close()

    def _connection(self, name: str) -> Connection:
        return self._desk.connection(name, self._world.store.load(names.connection_record(name)))

    def _run(self, plan: Plan[T]) -> T:
        return run(plan, self._world)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._world.store!r}>"
