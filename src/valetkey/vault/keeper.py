"""The keeper: the vault's face for programs. It runs the plans, remembers opened tokens for a second, and nothing more.

Thread-safe. What must outlive its caller (a refresh, redeeming a code) runs on a thread of its own (flights.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self, TypeVar

from valetkey.audit.ledger import Query
from valetkey.audit.line import Line
from valetkey.audit.who import WHO
from valetkey.effects import Plan
from valetkey.errors import InvalidInput, NotFound, ValetkeyError, VaultClosed, VaultDamaged, VaultUnreadable
from valetkey.providers.schema import GrantName
from valetkey.run import run
from valetkey.values import Secret, Token
from valetkey.vault import connect, device, names, notices, registry
from valetkey.vault.appsecret import AppSecret
from valetkey.vault.connect import Started, Wish
from valetkey.vault.desk import Desk, load_app
from valetkey.vault.device import DeviceStarted
from valetkey.vault.disconnect import Revocation, disconnect
from valetkey.vault.flights import Flights
from valetkey.vault.forecast import Forecast, secret_forecast
from valetkey.vault.judge import ANY, Demand, Serve
from valetkey.vault.names import part_of
from valetkey.vault.notices import Listener, Outcome
from valetkey.vault.opened import Opened
from valetkey.vault.pace import CONCURRENCY, Kept, Tally
from valetkey.vault.records import App, Connection
from valetkey.vault.recover import bring_home
from valetkey.vault.renew import glance, obtain
from valetkey.vault.telling import Teller
from valetkey.vault.views import AppInfo, ConnectionInfo, Credential, app_info, connection_info, damaged_info, hosts_of
from valetkey.vault.world import VaultWorld

if TYPE_CHECKING:
    from valetkey.vault.publisher import Publisher

T = TypeVar("T")

PAGE: Final = 500
SWEPT: Final = 20


class Keeper:
    """Keep connections: give fresh tokens, connect, disconnect. Made by `valetkey.open` or opening.py."""

    def __init__(self, desk: Desk, world: VaultWorld) -> None:
        self._desk, self._world = desk, world
        self.recorder = world.audit  # for what is done beside the vault, and belongs into its log
        self._flights = Flights()
        self._opened = Opened()
        self._teller = Teller(world.audit)

    # ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────

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

    def refresh_connection(self, name: str) -> ConnectionInfo:
        """Renew now, whether it is time or not, and return the connection as it may be shown: nobody has the token."""
        self._opened.forget(name)
        self._given(name, Demand(force=True), gives=False)
        return self.connection(name)

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

    # ── connecting ────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, name: str, *, redirect_uri: str, binding: Secret, wish: Wish | None = None) -> Started:
        """Make a link to consent by. `binding` is a secret that stays with who started."""
        self.sweep(SWEPT)  # whoever makes a pending authorization clears away a few old ones
        plan = connect.begin(self._desk, name, wish or Wish(), redirect_uri=redirect_uri, binding=binding)
        return self._run(plan)

    def finish(self, answer: str, *, binding: Secret) -> ConnectionInfo:
        """Take what came to the redirect URI (the URL or its query) and keep the tokens it leads to."""
        held = Secret(answer)
        del answer  # it holds the code, and tracebacks with locals show what stands in a frame
        made = self.fly(("finish", object()), connect.finish(self._desk, held, binding=binding)).result()
        return self._new(made)

    def connect_machine(self, name: str, grant: GrantName, *, wish: Wish | None = None) -> ConnectionInfo:
        """Obtain the first token where no person is needed (client_credentials, jwt_bearer)."""
        plan = connect.connect_machine(self._desk, name, wish or Wish(), grant)
        return self._new(self.fly(("machine", object()), plan).result())

    def begin_device(self, name: str, *, wish: Wish | None = None) -> DeviceStarted:
        """Ask the provider for a code that a person types elsewhere."""
        return self._run(device.begin_device(self._desk, name, wish or Wish()))

    def finish_device(self, started: DeviceStarted) -> ConnectionInfo:
        """Wait until the person has typed the code; blocks for minutes."""
        return self._new(self.fly(("device", object()), device.finish_device(self._desk, started)).result())

    def disconnect(self, name: str, *, force: bool = False) -> Revocation:
        """Revoke at the provider where that can be done, and forget the connection."""
        self._opened.forget(name)
        return self.fly(("disconnect", name), disconnect(self._desk, name, force=force)).result()

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────

    def connection(self, name: str) -> ConnectionInfo:
        """Return a connection as it may be shown; raises NotFound."""
        return self._made(self._connection(name))

    def connections(self, app: str = "") -> Iterator[ConnectionInfo]:
        """Give all connections, or those of one app, in the order of their names."""
        for record in self._names(_of(app)):
            name = record.removeprefix(names.CONNECTIONS)
            try:
                yield self.connection(name)
            except NotFound:
                continue  # removed since we read its name
            except (VaultDamaged, VaultUnreadable) as damage:
                yield damaged_info(name, damage)  # one record that does not open hides none of the others

    def states(self, app: str = "") -> dict[str, int]:
        """Return how many connections there are in each state, of all or of one app, without opening one."""
        return self._world.store.count(_of(app))

    def events(self, limit: int = 50) -> list[Line]:
        """Return the last lines of the audit log, oldest first."""
        self._world.audit.flush()
        return self._world.store.ledger.find(Query(), limit)

    # ── apps ──────────────────────────────────────────────────────────────────────────────────────────────────

    def add_app(self, app: App, *, replace: bool = False, check: bool = True) -> AppInfo:
        """Keep an app; raises AlreadyExists, and InvalidInput for one that could not be used.

        Secrets that it names by reference are looked up once, unless `check` is false; raises ManagerRefused then.
        """
        kept = self._run(registry.add_app(self._desk, app, replace=replace, check=check))
        return app_info(kept, self._desk.provider(kept))

    def change_app(self, name: str, change: Callable[[App], App], *, check: bool = True) -> AppInfo:
        """Keep an app as `change` makes it of what it is; raises NotFound, and as `add_app` does."""
        before = self._run(load_app(self._desk, name))
        kept = self._run(registry.add_app(self._desk, change(before), over=before, check=check))
        return app_info(kept, self._desk.provider(kept))

    def app(self, name: str) -> AppInfo:
        """Return an app as it may be shown; raises NotFound."""
        app = self._run(load_app(self._desk, name))
        return app_info(app, self._desk.provider(app))

    def apps(self) -> Iterator[AppInfo]:
        """Give all apps in the order of their names."""
        for record in self._names(names.APPS):
            try:
                yield self.app(record.removeprefix(names.APPS))
            except NotFound:
                continue  # removed since we read its name

    def remove_app(self, name: str) -> None:
        """Forget an app; raises InvalidInput while connections need it."""
        needed = self._world.store.names(_of(name), "", 1)
        if needed:
            example = needed[0].removeprefix(names.CONNECTIONS)
            raise InvalidInput(
                f"app {name} still has connections, for example {example}",
                fix=f"remove them first: `valetkey connection rm {example}`",
            )
        self._run(registry.remove_app(self._desk, name))

    def app_secret(self, name: str) -> AppSecret:
        """Return an app's secrets, to change them without an outage; see docs/rotation.md."""
        return AppSecret(name, self._desk, self._run, self._tried)

    def _tried(self, connection: str, plan: Plan[App]) -> App:
        self._opened.forget(connection)
        return self.fly(("trial", object()), plan).result()

    # ── the schedule ──────────────────────────────────────────────────────────────────────────────────────────

    def keep(
        self,
        stop: threading.Event | None = None,
        *,
        once: bool = False,
        concurrency: int = CONCURRENCY,
        report: Callable[[Kept], None] | None = None,
    ) -> Tally:
        """Renew what falls due, ahead of its expiry, and tell those who listen; blocks until `stop` is set.

        With `once` it ends when nothing is due. What is under way at the end is finished. `report` is told of each
        thing done, from any thread, one at a time.
        """
        from valetkey.vault.refresher import Refresher  # late: few programs keep, all of them start

        refresher = Refresher(self._desk, self._world, self._flights, concurrency=concurrency, report=report)
        return refresher.run(stop or threading.Event(), once=once)

    def keeping(self) -> AbstractContextManager[None]:
        """Do what `keep` does on a thread beside the block."""
        from valetkey.vault.refresher import beside  # late, as above

        return beside(self.keep)

    def forecasts(self, within: timedelta | None = None) -> list[Forecast]:
        """Return what will end, of every app and connection, the soonest first; see docs/schedule.md."""
        until = None if within is None else self._world.clock() + within
        found = [one for record in self._names(names.APPS) for one in self._secret_forecast(record)]
        found += [one for info in self.connections() for one in info.forecasts]
        return sorted((one for one in found if until is None or one.when <= until), key=lambda one: one.when)

    def _secret_forecast(self, record: str) -> list[Forecast]:
        try:
            return secret_forecast(self._run(load_app(self._desk, record.removeprefix(names.APPS))))
        except ValetkeyError:
            return []  # an app that cannot be read is shown as such elsewhere

    def publisher(self) -> Publisher:
        """Return who publishes tokens to files and secret managers."""
        from valetkey.vault.publisher import Publisher  # late, as above

        return Publisher(self._desk, self._world)

    def listeners(self) -> list[Listener]:
        """Return who is told of news."""
        return list(self._run(notices.listeners(self._desk)))

    def add_listener(self, listener: Listener) -> Listener:
        """Tell somebody of news from now on; raises AlreadyExists, InvalidInput, InsecureUrl."""
        from valetkey.vault.schedule import survey_soon  # late, as above

        made = self._run(notices.add_listener(self._desk, listener))
        self._run(survey_soon(self._desk))  # what is forecast already is news to who is new
        return made

    def remove_listener(self, name: str) -> None:
        """Tell somebody no more; raises NotFound."""
        self._run(notices.remove_listener(self._desk, name))

    def test_listener(self, name: str) -> Outcome:
        """Tell somebody a piece of news that is none, now, and return what became of it; raises NotFound."""
        from valetkey.vault.courier import test  # late, as above

        found = next((one for one in self.listeners() if one.name == name), None)
        if found is None:
            raise notices.unknown_listener(name)
        return test(found, self._world)

    # ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────

    def sweep(self, limit: int = PAGE) -> int:
        """Forget pending authorizations whose time has come; return how many."""
        due = self._world.store.due(names.PENDING, self._world.clock(), limit)
        return sum(self._run(connect.forget_expired(record)) for record in due)

    def close(self) -> None:
        """Wait for what is under way, write the audit log to its end, let go of the store; then all is VaultClosed."""
        self._opened.end()
        self._flights.end()
        self._world.close()

    def _connection(self, name: str) -> Connection:
        return self._desk.connection(name, self._world.store.load(names.connection_record(name)))

    def _new(self, connection: Connection) -> ConnectionInfo:
        # What is remembered is a token of the grant before, which the provider may have ended.
        self._opened.forget(connection.name)
        return self._made(connection)

    def _made(self, connection: Connection) -> ConnectionInfo:
        moment = self._world.clock().timestamp()
        try:
            app = self._run(load_app(self._desk, connection.app))
            return connection_info(connection, app, self._desk.provider(app), moment)
        except ValetkeyError:
            # A connection whose app is gone or cannot be read is still worth showing.
            return connection_info(connection, None, None, moment)

    def _names(self, prefix: str) -> Iterator[str]:
        after = ""
        while page := self._world.store.names(prefix, after, PAGE):
            yield from page
            after = page[-1]

    def _run(self, plan: Plan[T]) -> T:
        return run(plan, self._world)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._world.store!r}>"


def _of(app: str) -> str:
    """Return how the names of an app's connections begin, or of all connections; raises InvalidInput."""
    return f"{names.CONNECTIONS}{names.app_name(app)}/" if app else names.CONNECTIONS
