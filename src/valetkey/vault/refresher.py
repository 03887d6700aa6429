"""The refresher: look what is due, let it be done on threads, a bounded number at once; until told to stop.

Any number of replicas may run one on the same store, without a leader: each looks for itself, in an order of its own,
and a swap decides who does what. What it does with a record is schedule.py's and notices.py's; how fast it may go,
pace.py's. What may not be here: decisions about connections.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta
from random import SystemRandom
from typing import Final
from urllib.parse import urlsplit

from valetkey.errors import ProviderError, UsageError, ValetkeyError, VaultClosed, Weather
from valetkey.providers.schema import Provider
from valetkey.run import run
from valetkey.vault import names
from valetkey.vault.connect import forget_expired
from valetkey.vault.courier import deliver
from valetkey.vault.desk import Desk, load_app
from valetkey.vault.flights import Flights
from valetkey.vault.notices import settle, take
from valetkey.vault.pace import CONCURRENCY, Kept, Lanes, Tally
from valetkey.vault.publisher import Publisher
from valetkey.vault.records import App
from valetkey.vault.recover import bring_home
from valetkey.vault.schedule import claim_survey, end_survey, survey_begun, survey_connection, tend
from valetkey.vault.world import VaultWorld

_log = logging.getLogger("valetkey.keep")

PER_SECOND: Final = 10.0
"""Refreshes a second at one token host, from one replica; 36,000 an hour. Providers that say more or less say so in
`refresh.per_second`."""

NO_LIMIT: Final = 1000.0
"""Pieces a second where nobody but this machine has the work."""

LISTENER_MOST: Final = 2
"""Notices under way at once to one listener."""

PUBLISH_MOST: Final = 4
"""Publications being written at once: a manager that hangs leaves room for others."""

TICK_SECONDS: Final = 5.0
"""The longest sleep: what becomes due earlier than anybody knew (a new connection) is found within it."""

MORE_SECONDS: Final = 0.2
"""How soon it looks again when a page was full, though much still waits: some of the rest may be of other hosts."""

STOP_SECONDS: Final = 0.1
"""How soon it notices that it is to stop."""

PAGE: Final = 500
KNOWN_MOST: Final = 20_000
"""Names held in memory; more wait in the store until these are done."""

PAUSE_SECONDS: Final = 1.0
"""How long a record that was just looked at is left alone: what is due of it twice is done one after the other."""

SHUN_FIRST: Final = 30.0
SHUN_MOST: Final = 600.0
"""How long a record is left alone that could not be worked on: an app that is gone, a damaged box, a failing store."""

_APPS_SECONDS: Final = 30.0
_shuffled = SystemRandom()


@contextmanager
def beside(keep: Callable[[threading.Event], object]) -> Iterator[None]:
    """Keep on a thread beside the block, until it ends or closes the vault."""
    stop = threading.Event()

    def kept() -> None:
        with suppress(VaultClosed):  # by the block itself
            keep(stop)

    thread = threading.Thread(target=kept, name="valetkey-keep")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Refresher:
    """Keep a vault's connections fresh. `report` is told of each thing done, from any thread, one at a time."""

    def __init__(
        self,
        desk: Desk,
        world: VaultWorld,
        flights: Flights,
        *,
        concurrency: int = CONCURRENCY,
        report: Callable[[Kept], None] | None = None,
    ) -> None:
        self._desk = desk
        self._world = world
        self._flights = flights
        self._most = max(1, concurrency)
        self._report = report
        self._landed = threading.Condition()
        self._lanes = Lanes()
        self._flying: set[str] = set()
        self._paused: dict[str, float] = {}
        self._shunned: Counter[str] = Counter()
        self._apps: dict[str, tuple[float, str, float]] = {}
        self._look_at = 0.0
        self._more = False
        self._store_failures = 0
        self._once = False
        self._stop = threading.Event()
        self._publisher = Publisher(desk, world)
        self.tally = Tally()

    def run(self, stop: threading.Event, *, once: bool = False) -> Tally:
        """Work until `stop` is set, or, with `once`, until nothing is due; what is under way then is finished."""
        self._stop, self._once = stop, once
        try:
            with suppress(ValetkeyError):
                run(survey_begun(self._desk), self._world)
            while not stop.is_set():
                self._look_if_it_is_time()
                self._launch()
                if once and self._is_done():
                    break
                self._rest()
        finally:
            with self._landed:
                self._lanes.clear()
                while self._flying:
                    self._landed.wait()
        return self.tally

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────

    def _look_if_it_is_time(self) -> None:
        moment = time.monotonic()
        with self._landed:
            waiting = len(self._lanes)
            hungry = self._more and waiting < PAGE // 2
            if waiting >= KNOWN_MOST or (moment < self._look_at and not hungry):
                return
            self._paused = {name: until for name, until in self._paused.items() if until > moment}
        try:
            bring_home(self._desk, self._world)
            self._more = self._look()
            pause = MORE_SECONDS if self._more else self._until_next()
        except VaultClosed:
            raise
        except Exception as refusal:  # noqa: BLE001  # whatever it is, what falls due tomorrow must still be renewed
            self._store_failures += 1
            pause = min(SHUN_FIRST, 2.0 ** min(self._store_failures, 10))
            self._more = False
            said = refusal if isinstance(refusal, ValetkeyError) else type(refusal).__name__
            _log.warning("the vault cannot be read, and is tried again in %.0f seconds: %s", pause, said)
        else:
            self._store_failures = 0
        self._look_at = time.monotonic() + pause

    def _look(self) -> bool:
        """Let what is due wait in its lane; say whether there is more than was read."""
        now, store = self._world.clock(), self._world.store
        full = False
        for prefix in (names.CONNECTIONS, names.NOTICES, names.PENDING, names.ROUNDS, names.PUBLISHED):
            with self._landed:
                known = {*self._flying, *self._paused}
                limit = PAGE + len(known) + len(self._lanes)
            found = store.due(prefix, now, limit)
            full = full or len(found) >= limit
            with self._landed:
                new = [name for name in found if name not in known and name not in self._lanes]
            _shuffled.shuffle(new)  # replicas that look at the same moment begin at different ends
            placed = [(name, *self._place(name)) for name in new]
            with self._landed:
                for name, place, per_second, most in placed:
                    self._lanes.add(place, name, per_second=per_second, most=most)
        return full

    def _until_next(self) -> float:
        """Return how long nothing will be due, at most the tick; a little by chance, so that replicas differ."""
        tick = TICK_SECONDS * (0.8 + 0.2 * _shuffled.random())
        ahead = self._world.clock() + timedelta(seconds=tick)
        for prefix in (names.CONNECTIONS, names.NOTICES):
            for name in self._world.store.due(prefix, ahead, 1):
                entry = self._world.store.load(name)
                if entry is not None and entry.due_at is not None:
                    left = (entry.due_at - self._world.clock()).total_seconds()
                    # What is due already was found a moment ago, and is being worked on, or left alone.
                    tick = min(tick, left) if left > 0 else min(tick, PAUSE_SECONDS)
        return max(0.02, tick)

    def _place(self, name: str) -> tuple[str, float, int]:
        """Return the lane of a record, its rate, and how much of it may be under way at once."""
        if name.startswith(names.NOTICES):
            return f"listener {name.rpartition('.')[2]}", NO_LIMIT, LISTENER_MOST
        if not name.startswith(names.CONNECTIONS):
            return name.partition("/")[0], NO_LIMIT, PUBLISH_MOST if name.startswith(names.PUBLISHED) else 1
        host, per_second = self._host(name.split("/")[1])
        return f"host {host}", per_second, max(1, self._most * 3 // 4)

    def _host(self, app: str) -> tuple[str, float]:
        """Return the token host of an app, and how many refreshes a second it takes."""
        until, host, per_second = self._apps.get(app, (0.0, "", 0.0))
        if time.monotonic() >= until:
            host, per_second = f"of {app}", PER_SECOND
            with suppress(ValetkeyError):  # the renewal itself will say what is wrong
                provider = self._desk.provider(run(load_app(self._desk, app), self._world))
                url = provider.endpoints.refresh or provider.endpoints.token
                host, per_second = urlsplit(url).netloc, provider.refresh.per_second or PER_SECOND
            self._apps[app] = time.monotonic() + _APPS_SECONDS, host, per_second
        return host, per_second

    # ── flying ────────────────────────────────────────────────────────────────────────────────────────────────

    def _launch(self) -> None:
        while not self._stop.is_set():
            moment = time.monotonic()
            with self._landed:
                piece = self._lanes.take(moment) if len(self._flying) < self._most else None
                if piece is None:
                    return
                place, name = piece
                self._flying.add(name)
            self._fly(place, name, moment)

    def _fly(self, place: str, name: str, started: float) -> None:
        try:
            flight = self._flights.join(("keep", name), lambda: self._work(name))
        except (RuntimeError, VaultClosed) as refusal:
            self._land(place, name, started, rest=PAUSE_SECONDS, pause=PAUSE_SECONDS)
            if isinstance(refusal, VaultClosed):
                raise
            _log.warning("a thread could not be started: %s", type(refusal).__name__)  # there are too many
            return
        flight.add_done_callback(lambda landed: self._after(place, name, started, landed))

    def _after(self, place: str, name: str, started: float, landed: Future[float | None]) -> None:
        refusal, rest, pause = landed.exception(), None, PAUSE_SECONDS
        if refusal is None:
            rest = landed.result()
            self._shunned.pop(name, None)
        else:
            self._shunned[name] += 1
            pause = min(SHUN_MOST, SHUN_FIRST * 2.0 ** (self._shunned[name] - 1))
            self._stuck(name, refusal)
        self._land(place, name, started, rest=rest, pause=float("inf") if self._once else pause)

    def _land(self, place: str, name: str, started: float, *, rest: float | None, pause: float) -> None:
        moment = time.monotonic()
        with self._landed:
            self._lanes.land(place, started, moment, rest=rest)
            self._flying.discard(name)
            self._paused[name] = moment + pause
            self._landed.notify_all()

    def _stuck(self, name: str, refusal: BaseException) -> None:
        """Say once that a record cannot be worked on; its own words only where they are ours."""
        said = refusal.code if isinstance(refusal, ValetkeyError) else type(refusal).__name__
        level = logging.DEBUG if self._shunned[name] > 1 or isinstance(refusal, UsageError) else logging.WARNING
        _log.log(level, "%s cannot be worked on: %s", name, said)
        self._tell("stuck", name.removeprefix(names.CONNECTIONS), said, refusal)

    def _rest(self) -> None:
        """Sleep until something lands, may start, or is to be looked for; wake often enough to notice a stop."""
        with self._landed:
            moments = [self._look_at]
            if len(self._flying) < self._most:
                ready = self._lanes.ready_at()
                moments += [] if ready is None else [ready]
            pause = min(moments) - time.monotonic()
            if pause > 0:
                self._landed.wait(min(pause, STOP_SECONDS))

    def _is_done(self) -> bool:
        """Say whether a single round has nothing left to do; what waits for a host that is down is left."""
        with self._landed:
            self._lanes.drop_resting()
            return not self._flying and not len(self._lanes) and not self._more

    # ── the work itself, on a thread of its own ───────────────────────────────────────────────────────────────

    def _work(self, name: str) -> float | None:
        """Do one piece; return None, or how long its host wants to rest."""
        if name.startswith(names.CONNECTIONS):
            return self._tend(name.removeprefix(names.CONNECTIONS))
        if name.startswith(names.NOTICES):
            return self._deliver(name)
        if name.startswith(names.PUBLISHED):
            self._publish(name)
        elif name.startswith(names.PENDING):
            run(forget_expired(name), self._world)
        elif name == names.SURVEY:
            self._survey()
        return None

    def _tend(self, name: str) -> float | None:
        self._world.reserve()
        tended = run(tend(self._desk, name), self._world)
        if tended.became in {"renewed", "failed"}:
            self._tell(tended.became, name, tended.error.code if tended.error is not None else "", tended.error)
        if tended.news:
            self._tell("told", name, tended.news)
        if tended.became == "renewed":
            self._publish_all(name)
        return tended.error.retry_after if isinstance(tended.error, Weather) else None

    def _publish_all(self, connection: str) -> None:
        """Let what was just renewed be published next, in a lane of its own: no renewal waits for a manager."""
        try:
            records = self._publisher.records(connection)
        except ValetkeyError as refusal:
            _log.debug("what was renewed is published later, it is due within a minute: %s", refusal.code)
            return
        with self._landed:
            for record in records:
                if record not in self._flying and record not in self._lanes:
                    place, per_second, most = self._place(record)
                    self._lanes.add(place, record, per_second=per_second, most=most)
            self._landed.notify_all()

    def _publish(self, record: str) -> None:
        try:
            writing = self._publisher.write(record)
        except ProviderError as refusal:
            self._tell("unpublished", record.removeprefix(names.PUBLISHED).rpartition("/")[0], refusal.code, refusal)
            return
        if writing is not None:
            what = "published" if writing.text else "unpublished"
            self._tell(what, writing.publication.connection, writing.publication.target)

    def _deliver(self, record: str) -> float | None:
        errand = run(take(self._desk, record), self._world)
        if errand is None:
            return None
        outcome = deliver(errand, self._world)
        run(settle(self._desk, errand, outcome), self._world)
        what = "delivered" if outcome.delivered else "undelivered"
        self._tell(what, errand.notice.subject, f"{errand.notice.kind} to {errand.listener.name}: {outcome.word}")
        return None if outcome.delivered or outcome.final else outcome.retry_after

    def _survey(self) -> None:
        """Look at every connection for what is to come; ends early when told to stop, to be done again later."""
        version = run(claim_survey(self._desk), self._world)
        if version is None:
            return
        apps: dict[str, tuple[App, Provider]] = {}
        after, put = "", 0
        while not self._stop.is_set() and (page := self._world.store.names(names.CONNECTIONS, after, PAGE)):
            for record in page:
                if self._stop.is_set():
                    break
                with suppress(ValetkeyError):  # one damaged record must not hide the others
                    put += run(survey_connection(self._desk, record, apps), self._world)
            after = page[-1]
        if self._stop.is_set():
            run(end_survey(self._desk, version, again_in=0.0), self._world)
            return
        run(end_survey(self._desk, version), self._world)
        self._tell("surveyed", "all connections", f"{put} forecasts told")

    def _tell(self, what: str, subject: str, detail: str = "", error: BaseException | None = None) -> None:
        with self._landed:
            self.tally.counts[what] += 1
            if self._report is not None:
                self._report(Kept(self._world.clock(), what, subject, detail, error))
