"""Worlds, records and vaults for tests: a provider that is a function, a clock that moves when told, real sandboxes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec

from valetkey.audit.chain import ChainKey
from valetkey.audit.ledger import ROSTER, Head, Query
from valetkey.audit.line import Line
from valetkey.audit.recorder import Recorder
from valetkey.effects import Effect, Load, Luck, Note, Now, Resolve, Resolved, Send, Sleep, Spill, Spilled, Swap, Want
from valetkey.providers.schema import Api, Asking, Endpoints, Provider, Refresh
from valetkey.run import run
from valetkey.testing.books import Grant
from valetkey.values import Request, Response, Scopes, Secret
from valetkey.vault import names
from valetkey.vault.connect import Wish
from valetkey.vault.desk import Desk
from valetkey.vault.records import App, Connection, TokenSet
from valetkey.vault.stores.memory import MemoryStore

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def a_provider(**refresh: object) -> Provider:
    return Provider(
        key="acme",
        name="Acme",
        endpoints=Endpoints(
            token="https://acme.test/token",
            authorize="https://acme.test/authorize",
            revoke="https://acme.test/revoke",
            device="https://acme.test/device",
            issuer="https://acme.test",
        ),
        grants=["authorization_code", "client_credentials", "device_code"],
        asking=Asking(token_auth="client_secret_post"),
        refresh=Refresh(**{"rotates": "always", "old_token": "dies", "reuse": "revokes_family", **refresh}),
        api=Api(hosts=["api.acme.test"]),
    )


def an_app(provider: Provider | None = None, **changes: object) -> App:
    app = App(
        name="acme",
        provider="acme",
        client_id="client-1",
        created_at=START.timestamp(),
        secret=Secret("a-client-secret-that-nobody-may-see"),
        described=provider or a_provider(),
    )
    return msgspec.structs.replace(app, **changes)


def a_connection(
    *, expires_in: float | None = 3600.0, refresh: str | None = "refresh-1", **changes: object
) -> Connection:
    moment = START.timestamp()
    tokens = TokenSet(
        access=Secret("access-1"),
        obtained_at=moment,
        expires_at=None if expires_in is None else moment + expires_in,
        refresh=None if refresh is None else Secret(refresh),
        scopes=("read",),
    )
    connection = Connection(
        app="acme", label="alice", grant="authorization_code", created_at=moment, tokens=tokens, generation=1
    )
    return msgspec.structs.replace(connection, **changes)


def _no_manager(reference: str, _want: Want) -> Secret:
    raise AssertionError(f"this test has no secret manager, and was asked for {reference}")


class FakeWorld:
    """Answer plans from memory, with a clock that moves only when it is told, and a provider that is a function."""

    def __init__(self, provider: Callable[[Request], Response]) -> None:
        self.store = MemoryStore()
        self.now = START
        self.provider = provider
        self.notes: list[tuple[str, str, str]] = []
        self.asked: list[str] = []
        self.spilled: dict[str, object] = {}
        self.before: Callable[[Effect], None] = lambda _: None
        self.luck = 0
        self.manager: Callable[[str, Want], Secret] = _no_manager
        self.known: dict[str, Secret] = {}

    def clock(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def answer(self, question: Effect, /) -> object:  # noqa: C901, PLR0911  # a line for each question
        self.asked.append(type(question).__name__)
        self.before(question)
        match question:
            case Load(name):
                return self.store.load(name)
            case Swap(name, seen, entry):
                return self.store.swap(name, seen, entry)
            case Now():
                return self.now
            case Sleep(seconds):
                self.advance(seconds)
            case Note(event):
                self.notes.append((event.kind, event.outcome, event.reason))
            case Luck(size):
                self.luck += 1
                return self.luck.to_bytes(size, "big")
            case Send(request):
                return self.provider(request)
            case Spill(name, entry):
                self.spilled[name] = entry
            case Spilled(name):
                return self.spilled.get(name)
            case Resolve(reference, want):
                return self.resolve(reference, want)
        return None

    def resolve(self, reference: str, want: Want) -> Resolved:
        """Ask the manager, which is a function; what it said before is remembered for ever, until fresh is wanted."""
        if want == "remembered" and reference in self.known:
            return Resolved(self.known[reference], fetched=False)
        secret = self.manager(reference, want)
        if want != "previous":
            self.known[reference] = secret
        return Resolved(secret)


def a_recorder(store, clock=lambda: START) -> Recorder:
    """Return what writes an audit log with a key of its own."""
    key = ChainKey(b"a-vault!", Secret("11" * 32), Secret("22" * 32))
    return Recorder(store.ledger, lambda: key, clock=clock, actor="test:me")


def lines_of(store, limit: int = 10_000) -> list[Line]:
    """Return the last lines of a store's audit log, oldest first, without where the vault and each process begin."""
    return [line for line in store.ledger.find(Query(), limit) if line.kind not in {"audit.begun", "vault.created"}]


def append(store, *lines: Line) -> None:
    """Write lines to a store as they are, without a true chain."""
    there = store.ledger.head("w")
    if there is None:
        there = Head("w", 1, 0, b"", b"")
        assert store.ledger.enroll(there, Head(ROSTER, 0, 1, b"", b""), 0)
    made = [replace(line, writer="w", number=there.number + step) for step, line in enumerate(lines, 1)]
    assert store.ledger.append(made, there._replace(number=made[-1].number), there.number)


def put(desk: Desk, world: FakeWorld, *records: App | Connection) -> None:
    for record in records:
        moment = world.now.timestamp()
        entry = desk.seal_app(record) if isinstance(record, App) else desk.seal_connection(record, moment)
        name = names.app_record(record.name) if isinstance(record, App) else names.connection_record(record.name)
        assert world.store.swap(name, 0, entry)


def held(desk: Desk, world: FakeWorld, name: str = "acme/alice") -> Connection:
    return desk.connection(name, world.store.load(names.connection_record(name)))


def tokens_answer(number: int = 2, *, refresh: bool = True, expires_in: object = 3600, **more: object) -> Response:
    body: dict[str, object] = {"access_token": f"access-{number}", "token_type": "Bearer", "expires_in": expires_in}
    if refresh:
        body["refresh_token"] = f"refresh-{number}"
    return Response(200, {"content-type": "application/json"}, msgspec.json.encode({**body, **more}))


def refusal(code: str, status: int = 400) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode({"error": code}))


def sandbox_app(sandbox, client: str = "sandbox-web", name: str = "sb") -> App:
    return App(
        name=name,
        provider="sandbox",
        client_id=client,
        created_at=0,
        secret=sandbox.clients[client].secret,
        described=sandbox.provider(),
    )


def connect(vault, sandbox, name: str, **wish: object) -> object:
    binding = Secret(os.urandom(16).hex())
    started = vault.begin(name, redirect_uri="http://127.0.0.1:7777/callback", binding=binding, wish=Wish(**wish))
    return vault.finish(sandbox.login(started.url, user=name.split("/")[1]), binding=binding)


def expire(vault, name: str) -> None:
    """Make the stored access token one that expired a minute ago, as if time had passed for this vault only."""
    world, desk = vault._world, vault._desk
    record = names.connection_record(name)
    while True:
        entry = world.store.load(record)
        connection = desk.connection(name, entry)
        moment = world.clock().timestamp()
        tokens = msgspec.structs.replace(connection.tokens, obtained_at=moment - 3660, expires_at=moment - 60)
        aged = msgspec.structs.replace(connection, tokens=tokens)
        if world.store.swap(record, entry.version, desk.seal_connection(aged, moment)):
            break
    vault._opened.clear()


def drive(plan, world: FakeWorld):
    return run(plan, world)


def minted(sandbox, client: str, user: str) -> str:
    """Return the refresh token of a new grant, as if the person had consented; hundreds in a moment."""
    realm = sandbox._desk.realm
    with sandbox._desk.lock:
        grant = Grant("authorization_code", client, user, Scopes(["read"]), (), realm.clock())
        realm.books.add(grant)
        return realm.refreshable(grant)["refresh_token"]


def crowd(vault, sandbox, count: int, *, expires_in: float, app: str = "sb", lifetime: float = 600.0) -> list[str]:
    """Keep that many connections of sandbox-web, whose access tokens expire after so many seconds."""
    world, desk = vault._world, vault._desk
    moment = world.clock().timestamp()
    made = []
    for number in range(count):
        label = f"user-{number:05}"
        tokens = TokenSet(
            access=Secret(f"old-access-of-{label}"),
            obtained_at=moment + expires_in - lifetime,
            expires_at=moment + expires_in,
            refresh=Secret(minted(sandbox, "sandbox-web", label)),
            scopes=("read",),
        )
        connection = Connection(
            app=app, label=label, grant="authorization_code", created_at=moment, tokens=tokens, generation=1
        )
        record = names.connection_record(connection.name)
        assert world.store.swap(record, 0, desk.seal_connection(connection, moment))
        made.append(connection.name)
    return made
