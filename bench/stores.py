"""What a million connections cost the store, against a thousand: load, due, names, count, swap, a token, and the disk.

`BENCH_STORES_ROWS=100000 python -m bench stores` takes fewer. PostgreSQL is the wheel's, with fsync on.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.rows import Row, best, pin
from valetkey.audit.chain import ChainKey
from valetkey.audit.recorder import Recorder
from valetkey.run import run
from valetkey.values import Entry, Secret
from valetkey.vault.desk import Desk
from valetkey.vault.judge import Demand
from valetkey.vault.keyring import Keyring
from valetkey.vault.records import Connection, TokenSet
from valetkey.vault.renew import peek
from valetkey.vault.stores.base import Store
from valetkey.vault.stores.postgres import PostgresStore
from valetkey.vault.stores.sqlite import SqliteStore
from valetkey.vault.world import VaultWorld

FEW = 1_000
MANY = int(os.environ.get("BENCH_STORES_ROWS", "1000000"))
APPS = 30
DUE = 100
"""Records that want attention now, at either size: what the schedule asks for in one question."""

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LUCK = random.Random(1)


DESK = Desk(Keyring.create(0.0).sealer())
REAL = 500
"""Connections whose boxes open, spread over the others, so that tokens can be asked for."""


def template(label: str = "user", app: str = "app00") -> Entry:
    """Seal one connection as it is after a refresh; every row gets the bytes of one."""
    tokens = TokenSet(
        access=Secret("a" * 200),
        obtained_at=NOW.timestamp(),
        expires_at=NOW.timestamp() + 3600 * 24 * 365 * 100,  # fresh, whenever this is run
        refresh=Secret("r" * 100),
        scopes=("read", "write"),
    )
    connection = Connection(
        app=app,
        label=label,
        grant="authorization_code",
        created_at=0.0,
        tokens=tokens,
        generation=9,
        spent="0" * 12,
    )
    return DESK.seal_connection(connection, NOW.timestamp())


def rows(count: int, box: bytes) -> Iterator[tuple[str, int, str, int, bytes]]:
    for number in range(count):
        behind = timedelta(minutes=-1) if number % (count // DUE) == 0 else timedelta(seconds=1 + number % 86_400)
        due = int((NOW + behind).timestamp() * 1000)
        state = "needs_reconnect" if number % 50 == 7 else "active"
        yield name(number), 1, state, due, box


def name(number: int) -> str:
    return f"connection/app{number % APPS:02}/user{number:07}"


@contextmanager
def sqlite(folder: Path, count: int, box: bytes) -> Iterator[tuple[Store, float]]:
    path = folder / f"{count}.db"
    store = SqliteStore.open(path, create=True)
    with sqlite3.connect(path) as file:
        file.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows(count, box))
    file.close()
    yield store, path.stat().st_size
    store.close()
    path.unlink()


@contextmanager
def postgres(url: str, count: int, box: bytes) -> Iterator[tuple[Store, float]]:
    import psycopg

    store = PostgresStore.open(url, create=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE valetkey_records")
        with connection.cursor().copy(
            "COPY valetkey_records (name, version, state, due_at, box) FROM STDIN (FORMAT BINARY)"
        ) as into:
            into.set_types(["text", "int8", "text", "int8", "bytea"])
            for row in rows(count, box):
                into.write_row(row)
        connection.execute("VACUUM ANALYZE valetkey_records")  # as autovacuum does, a little later
        size = connection.execute("SELECT pg_total_relation_size('valetkey_records')").fetchone()
    yield store, size[0]
    store.close()


def opened(store: Store, count: int) -> list[str]:
    """Put connections that open in the place of some, and return their names."""
    made = []
    for number in range(0, count, max(1, count // REAL)):
        record = name(number)
        _, app, label = record.split("/")
        entry = store.load(record)
        assert entry is not None
        assert store.swap(record, entry.version, replace(template(label, app), due_at=entry.due_at))
        made.append(f"{app}/{label}")
    return made


def token(store: Store) -> Callable[[str], object]:
    """Return what `vault.token` does for a connection it has not opened within the last second."""
    key = ChainKey(b"a-vault!", Secret("11" * 32), Secret("22" * 32))
    audit = Recorder(store.ledger, lambda: key, clock=lambda: datetime.now(UTC), actor="bench")
    world = VaultWorld(store=store, transport=lambda: None, audit=audit)  # nothing is sent: the tokens are fresh
    return lambda one: run(peek(DESK, one, Demand()), world)


def measured(store: Store, count: int) -> dict[str, float]:
    """Return seconds per question."""
    real = opened(store, count)
    ask = token(store)
    assert ask(real[0]) is not None
    some = [name(LUCK.randrange(count)) for _ in range(500)]
    pages = [name(LUCK.randrange(count)) for _ in range(20)]

    def through(work: Callable[[str], object], among: list[str] = some) -> Callable[[], None]:
        def all_of_them() -> None:
            for one in among:
                work(one)

        return all_of_them

    def swap(one: str) -> None:
        entry = store.load(one)
        store.swap(one, entry.version, entry)

    def page() -> None:
        for after in pages:
            store.names("connection/", after, 100)

    assert len(store.due("connection/", NOW, 1000)) == DUE
    return {
        "load": best(through(store.load), number=1) / len(some),
        "a token, opened": best(through(ask, real), number=1) / len(real),
        "due, 100 of them": best(lambda: store.due("connection/", NOW, DUE), number=20),
        "names, a page of 100": best(page, number=1) / len(pages),
        "count by state": best(lambda: store.count("connection/"), number=1, repeat=3),
        "load and swap, durable": best(through(swap), number=1, repeat=3) / len(some),
    }


AIMS = {"load": "≤ 1.3 ×", "a token, opened": "≤ 1.3 ×", "due, 100 of them": "≤ 1.3 ×"}


def compared(kind: str, at: Callable[[int], object]) -> list[Row]:
    sizes, costs = {}, {}
    for count in (FEW, MANY):
        with at(count) as (store, size):
            sizes[count], costs[count] = size, measured(store, count)
    few = f"{FEW:,} records"
    return [
        *(
            Row(
                f"{kind}, {MANY:,} records: {what}",
                cost * 1e6,
                "µs",
                cost / costs[FEW][what],
                f"{few} ({costs[FEW][what] * 1e6:,.3g} µs)",
                AIMS.get(what, ""),
            )
            for what, cost in costs[MANY].items()
        ),
        Row(f"{kind}, {MANY:,} records: on disk", sizes[MANY] / 1e6, "MB"),
        Row(f"{kind}: on disk, a record", sizes[MANY] / MANY, "bytes"),
    ]


def main() -> list[Row]:
    pin()
    box = template().box
    with tempfile.TemporaryDirectory() as folder:
        found = compared("SQLite", lambda count: sqlite(Path(folder), count, box))
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from postgreskit import Server, binaries

    programs = binaries()
    if programs is None:
        return found
    server = Server(programs, fsync="on", log_statement="none", shared_buffers="256MB", max_wal_size="4GB")
    try:
        server.start()
        return found + compared("PostgreSQL", lambda count: postgres(server.url, count, box))
    finally:
        server.remove()
