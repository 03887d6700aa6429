"""What an episode is played in: the store, the spill folders, the providers, the replicas and their work.

What may not be here: what happens in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from simulation.keys import KEK, Observer, live
from simulation.manners import MANNERS, described
from simulation.provider import ModelProvider
from simulation.scenario import Hit, Place, Scenario
from valetkey.effects import Effect, Load, Luck, Note, Now, Plan, Resolve, Resolved, Send, Sleep, Spilled, Swap
from valetkey.oauth.client import Client
from valetkey.providers.schema import Provider
from valetkey.run import run
from valetkey.values import Entry, Secret
from valetkey.vault import names
from valetkey.vault.connect import Wish, begin, connect_machine, finish
from valetkey.vault.desk import Desk
from valetkey.vault.keyring import Keyring
from valetkey.vault.livekeys import KeyedStore
from valetkey.vault.notices import Listener, add_listener
from valetkey.vault.records import App
from valetkey.vault.registry import add_app
from valetkey.vault.stores.memory import MemoryStore
from valetkey.vault.webhook import new_secret

START: Final = 1_772_366_400.0
"""1 March 2026, noon, UTC."""

CALLBACK: Final = "http://127.0.0.1:7777/callback"
_MASK: Final = (1 << 64) - 1
_SECRET: Final = new_secret(bytes(32))


_FILLED: Final[dict[bytes, Provider]] = {}
"""Descriptions with their templates filled, by what they were filled from: the same few in every world."""


@dataclass(frozen=True)
class QuickDesk(Desk):
    """Open each app once: apps do not change within an episode, and filling a provider's templates is slow."""

    opened: dict[bytes, App] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)

    def app(self, name: str, entry: Entry | None) -> App:
        if entry is None:
            return super().app(name, entry)
        app = self.opened.get(entry.box)
        if app is None:
            app = self.opened[entry.box] = super().app(name, entry)
        return app

    def provider(self, app: App) -> Provider:
        found = self.providers.get(app.name)
        if found is None:
            told = msgspec.msgpack.encode((app.described, app.params))
            found = _FILLED.get(told)
            if found is None:
                found = _FILLED[told] = super().provider(app)
            self.providers[app.name] = found
        return found

    def client(self, app: App, provider: Provider) -> Client:
        if app.secret_ref:
            return super().client(app, provider)  # its secret changes
        found = self.clients.get(app.name)
        if found is None:
            found = self.clients[app.name] = super().client(app, provider)
        return found


class World:
    """Hold what outlives a crash: the store, the spill folders, the providers."""

    def __init__(self, scenario: Scenario) -> None:
        self.start = START
        self.store = MemoryStore()
        self.store.swap(names.KEYRING, 0, Entry("keyring", Keyring.create(START).wrapped(KEK)))
        self.sealed = scenario.sealed
        observer: Any = Observer(self.store, sealed=scenario.sealed)
        self.desk = QuickDesk(observer)
        self.resealed = (b"", 0.0)
        self.resealed_at = 0.0
        self.places = {place.name: place for place in scenario.places}
        self.providers: dict[str, ModelProvider] = {}
        self.folder: dict[str, Entry] = {}
        self.shared = scenario.shared
        self.drawn = 0
        listener = Listener(name="desk", created_at=START, url="https://desk.test/hook", secret=_SECRET)
        run(add_listener(self.desk, listener), Instant(self, ""))
        for place in scenario.places:
            if place.app not in self.providers:
                self._register(place)
            if place.connected:
                self._connect(place)

    def copied(self) -> World:
        """Return a world of its own that is as this one is now: cheaper than making and connecting one anew."""
        other = copy.copy(self)
        other.store = MemoryStore()
        other.store._entries, other.store._last_version = dict(self.store._entries), self.store._last_version
        known = {name: dict(getattr(self.desk, name)) for name in ("opened", "clients", "providers")}
        other.desk = QuickDesk(Observer(other.store, sealed=self.sealed), **known)
        other.providers = copy.deepcopy(self.providers)
        other.folder = dict(self.folder)
        return other

    def provider(self, place: str) -> ModelProvider:
        """Return the provider of a connection."""
        return self.providers[place.partition("/")[0]]

    def all_names(self) -> list[str]:
        """Return the names of all records but the keyring."""
        return [name for name in self.store.names("", "", 10_000) if name != names.KEYRING]

    def _register(self, place: Place) -> None:
        manner = MANNERS[place.manner]
        base = 100 * len(self.providers)
        self.providers[place.app] = ModelProvider(manner, odd=place.odd, base=base)
        app = App(
            name=place.app,
            provider=manner.name,
            client_id="client",
            created_at=START,
            secret=None if place.elsewhere else Secret("a secret of the client"),
            secret_ref=f"vault:kv/{place.app}#client_secret" if place.elsewhere else "",
            described=described(manner, known=place.known),
        )
        run(add_app(self.desk, app), Instant(self, place.name))

    def _connect(self, place: Place) -> None:
        instant = Instant(self, place.name)
        wish = Wish(scopes=(place.name,))
        if place.machine:
            run(connect_machine(self.desk, place.name, wish, "client_credentials"), instant)
            return
        binding = Secret("binding")
        started = run(begin(self.desk, place.name, wish, redirect_uri=CALLBACK, binding=binding), instant)
        code = self.provider(place.name).consent(place.name, START)
        run(finish(self.desk, redirect(started.url, code), binding=binding), instant)


ROTATES: Final = 900.0
"""Seconds between two rotations of a secret in the manager; the provider takes only the new one from that instant on."""


def secret_at(reference: str, now: float) -> Secret:
    """Return what the manager has at a time."""
    return Secret(f"{reference} in its version {int((now - START) // ROTATES)}")


def redirect(url: str, code: str) -> Secret:
    """Return where the provider sends the browser, for the URL it was sent to."""
    state = url.partition("state=")[2].partition("&")[0]
    return Secret(f"{CALLBACK}?state={state}&code={code}")


class Instant:
    """Answer a plan at once, and without a fault; `now` moves when it sleeps."""

    def __init__(self, world: World, place: str, now: float = START) -> None:
        self.world = world
        self.place = place
        self.now = now
        self.spilled = world.folder

    def answer(self, question: Effect, /) -> Any:  # noqa: PLR0911  # a line for each question
        """Answer one question."""
        world = self.world
        match question:
            case Load(name):
                return world.store.load(name)
            case Swap(name, seen, entry):
                return world.store.swap(name, seen, entry)
            case Now():
                return moment(self.now)
            case Luck(size):
                world.drawn += 1
                return world.drawn.to_bytes(size, "big")
            case Send(request):
                return world.provider(self.place).answer(request, self.now)
            case Sleep(seconds):
                self.now += seconds
            case Note():
                pass
            case Spilled(name):
                return self.spilled.get(name)
            case Resolve(reference):
                return Resolved(secret_at(reference, self.now))
            case _:
                self.spilled[question.name] = question.entry
        return None


@dataclass(eq=False, slots=True)
class Task:
    """Be a plan under way on a replica: a caller's, or work that outlives callers (then it has a key)."""

    caller: int
    replica: Replica
    kind: str
    place: str
    luck: int
    started: float
    plan: Plan[Any] = field(init=False, repr=False)
    question: Any = None
    key: Hashable = None
    alive: bool = True
    k: int = 0
    hits: list[Hit] = field(default_factory=list)
    waiters: list[Task] = field(default_factory=list)
    now_at: float = 0.0  # true time of its last look at the clock
    loaded_at: float = 0.0  # true time of its last look at the connection's record
    part: str = ""  # which of several tokens it wants (records.py)
    given: Any = None  # what the work it joined came to
    record: Any = None  # what watch.py knows of it

    @property
    def title(self) -> str:
        """Return what a trace calls it."""
        return f"{self.kind}{'*' if self.key is not None else ''} #{self.caller} {self.place.partition('/')[2]}"

    def draw(self) -> int:
        """Draw 31 random bits of this task's own."""
        self.luck = (self.luck * 6364136223846793005 + 1442695040888963407) & _MASK
        return self.luck >> 33


class Replica:
    """Be one process: what it holds in memory is gone with a crash; its spill folder stays."""

    def __init__(self, number: int, world: World, tick: Callable[[], float]) -> None:
        self.number = number
        self.world = world
        self.tick = tick
        self.open()
        self.tasks: list[Task] = []
        self.flights: dict[Hashable, Task] = {}
        self.down_until = 0.0
        self.skew = 0.0
        self.folder: dict[str, Entry] = world.folder if world.shared else {}
        self.secrets: dict[str, tuple[float, Secret]] = {}

    def open(self) -> None:
        """Open the vault, as a process does that begins."""
        self.keys = live(self.world.store, sealed=self.world.sealed, tick=self.tick)
        self.store = KeyedStore(self.world.store, self.keys)
        self.desk = QuickDesk(self.keys.sealer)
        self.opened = True


def moment(seconds: float) -> datetime:
    """Return seconds since the epoch as plans are told the time."""
    return datetime.fromtimestamp(seconds, UTC)
