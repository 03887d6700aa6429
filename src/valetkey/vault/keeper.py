"""The keeper: the vault's face for programs. It runs the plans, and nothing more.

Thread-safe. What must outlive its caller (a refresh, redeeming a code) runs on a thread of its own (flights.py). The
plans are imported by the methods that run them, because most programs want a token and nothing else.
What may not be here: what is done a thousand times a day (tokensource.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from valetkey.audit.ledger import Query
from valetkey.audit.line import Line
from valetkey.effects import Plan
from valetkey.errors import InvalidInput, NotFound, ValetkeyError, VaultDamaged, VaultUnreadable
from valetkey.providers.schema import GrantName
from valetkey.values import Secret
from valetkey.vault import names
from valetkey.vault.desk import load_app
from valetkey.vault.forecast import Forecast, as_of, secret_forecast
from valetkey.vault.judge import Demand
from valetkey.vault.pace import CONCURRENCY, Kept, Tally
from valetkey.vault.records import App, Connection
from valetkey.vault.tokensource import TokenSource
from valetkey.vault.views import AppInfo, ConnectionInfo, app_info, connection_info, damaged_info

if TYPE_CHECKING:
    from valetkey.vault.appsecret import AppSecret
    from valetkey.vault.connect import Started, Wish
    from valetkey.vault.device import DeviceStarted
    from valetkey.vault.disconnect import Revocation
    from valetkey.vault.notices import Listener, Outcome
    from valetkey.vault.publisher import Publisher

T = TypeVar("T")

PAGE: Final = 500
SWEPT: Final = 20


class Keeper(TokenSource):
    """Keep connections: give fresh tokens, connect, disconnect. Made by `valetkey.open` or opening.py."""

    def refresh_connection(self, name: str) -> ConnectionInfo:
        """Renew now, whether it is time or not, and return the connection as it may be shown: nobody has the token."""
        self._opened.forget(name)
        self._given(name, Demand(force=True), gives=False)
        return self.connection(name)

    # ── connecting ────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, name: str, *, redirect_uri: str, binding: Secret, wish: Wish | None = None) -> Started:
        """Make a link to consent by. `binding` is a secret that stays with who started."""
        from valetkey.vault import connect

        self.sweep(SWEPT)  # whoever makes a pending authorization clears away a few old ones
        plan = connect.begin(self._desk, name, wish or connect.Wish(), redirect_uri=redirect_uri, binding=binding)
        return self._run(plan)

    def finish(self, answer: str, *, binding: Secret) -> ConnectionInfo:
        """Take what came to the redirect URI (the URL or its query) and keep the tokens it leads to."""
        from valetkey.vault.connect import finish

        held = Secret(answer)
        del answer  # it holds the code, and tracebacks with locals show what stands in a frame
        made = self.fly(("finish", object()), finish(self._desk, held, binding=binding)).result()
        return self._new(made)

    def connect_machine(self, name: str, grant: GrantName, *, wish: Wish | None = None) -> ConnectionInfo:
        """Obtain the first token where no person is needed (client_credentials, jwt_bearer)."""
        from valetkey.vault import connect

        plan = connect.connect_machine(self._desk, name, wish or connect.Wish(), grant)
        return self._new(self.fly(("machine", object()), plan).result())

    def begin_device(self, name: str, *, wish: Wish | None = None) -> DeviceStarted:
        """Ask the provider for a code that a person types elsewhere."""
        from valetkey.vault.connect import Wish
        from valetkey.vault.device import begin_device

        return self._run(begin_device(self._desk, name, wish or Wish()))

    def finish_device(self, started: DeviceStarted) -> ConnectionInfo:
        """Wait until the person has typed the code; blocks for minutes."""
        from valetkey.vault.device import finish_device

        return self._new(self.fly(("device", object()), finish_device(self._desk, started)).result())

    def disconnect(self, name: str, *, force: bool = False) -> Revocation:
        """Revoke at the provider where that can be done, and forget the connection."""
        from valetkey.vault.disconnect import disconnect

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
        from valetkey.vault.registry import add_app

        kept = self._run(add_app(self._desk, app, replace=replace, check=check))
        return app_info(kept, self._desk.provider(kept))

    def change_app(self, name: str, change: Callable[[App], App], *, check: bool = True) -> AppInfo:
        """Keep an app as `change` makes it of what it is; raises NotFound, and as `add_app` does."""
        from valetkey.vault.registry import add_app

        before = self._run(load_app(self._desk, name))
        kept = self._run(add_app(self._desk, change(before), over=before, check=check))
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
        from valetkey.vault.registry import remove_app

        needed = self._world.store.names(_of(name), "", 1)
        if needed:
            example = needed[0].removeprefix(names.CONNECTIONS)
            raise InvalidInput(
                f"app {name} still has connections, for example {example}",
                fix=f"remove them first: `valetkey connection rm {example}`",
            )
        self._run(remove_app(self._desk, name))

    def app_secret(self, name: str) -> AppSecret:
        """Return an app's secrets, to change them without an outage; see docs/rotation.md."""
        from valetkey.vault.appsecret import AppSecret

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
        from valetkey.vault.refresher import Refresher

        refresher = Refresher(self._desk, self._world, self._flights, concurrency=concurrency, report=report)
        return refresher.run(stop or threading.Event(), once=once)

    def keeping(self) -> AbstractContextManager[None]:
        """Do what `keep` does on a thread beside the block."""
        from valetkey.vault.refresher import beside

        return beside(self.keep)

    def forecasts(self, within: timedelta | None = None) -> list[Forecast]:
        """Return what will end, of every app and connection, the soonest first; see docs/schedule.md."""
        moment = self._world.clock()
        until = None if within is None else moment + within
        found = [one for record in self._names(names.APPS) for one in self._secret_forecast(record)]
        found = [as_of(one, moment.timestamp()) for one in found]
        found += [one for info in self.connections() for one in info.forecasts]
        return sorted((one for one in found if until is None or one.when <= until), key=lambda one: one.when)

    def _secret_forecast(self, record: str) -> list[Forecast]:
        try:
            return secret_forecast(self._run(load_app(self._desk, record.removeprefix(names.APPS))))
        except ValetkeyError:
            return []  # an app that cannot be read is shown as such elsewhere

    def publisher(self) -> Publisher:
        """Return who publishes tokens to files and secret managers."""
        from valetkey.vault.publisher import Publisher

        return Publisher(self._desk, self._world)

    def listeners(self) -> list[Listener]:
        """Return who is told of news."""
        from valetkey.vault.notices import listeners

        return list(self._run(listeners(self._desk)))

    def add_listener(self, listener: Listener) -> Listener:
        """Tell somebody of news from now on; raises AlreadyExists, InvalidInput, InsecureUrl."""
        from valetkey.vault.notices import add_listener
        from valetkey.vault.schedule import survey_soon

        made = self._run(add_listener(self._desk, listener))
        self._run(survey_soon(self._desk))  # what is forecast already is news to who is new
        return made

    def remove_listener(self, name: str) -> None:
        """Tell somebody no more; raises NotFound."""
        from valetkey.vault.notices import remove_listener

        self._run(remove_listener(self._desk, name))

    def test_listener(self, name: str) -> Outcome:
        """Tell somebody a piece of news that is none, now, and return what became of it; raises NotFound."""
        from valetkey.vault.courier import test
        from valetkey.vault.notices import unknown_listener

        found = next((one for one in self.listeners() if one.name == name), None)
        if found is None:
            raise unknown_listener(name)
        return test(found, self._world)

    # ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────

    def sweep(self, limit: int = PAGE) -> int:
        """Forget pending authorizations whose time has come; return how many."""
        from valetkey.vault.connect import forget_expired

        due = self._world.store.due(names.PENDING, self._world.clock(), limit)
        return sum(self._run(forget_expired(record)) for record in due)

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


def _of(app: str) -> str:
    """Return how the names of an app's connections begin, or of all connections; raises InvalidInput."""
    return f"{names.CONNECTIONS}{names.app_name(app)}/" if app else names.CONNECTIONS
