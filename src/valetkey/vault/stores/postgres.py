"""The store for many replicas: one PostgreSQL, reached over a pool of connections that mends itself.

Every change is one statement that commits on its own and is on disk when this returns. When the connection breaks
before the answer came, whether it was committed is found out, never guessed; see `swap`. The statements keep to what
CockroachDB and YugabyteDB also understand (docs/vault.md says where they differ).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from valetkey.errors import InvalidInput, StoreUnavailable, VaultError, VaultMissing
from valetkey.installing import to_add
from valetkey.values import Entry
from valetkey.vault.stores.ledger import SqlLedger, Words
from valetkey.vault.stores.missing import no_vault
from valetkey.vault.stores.postgres_schema import SLOTS, prepare
from valetkey.vault.stores.postgres_words import LOCK_SECONDS, STATEMENT_SECONDS, Address, explained, unreached
from valetkey.vault.stores.rows import millis, moment, span

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

T = TypeVar("T")

MOST_CONNECTIONS: Final = 10
"""Of one process. PostgreSQL allows 100 by default, so ten replicas fit; a statement takes a millisecond."""

PATIENCE: Final = 10.0
"""Seconds that a call waits for a free connection, or for the server to come back; a lease is many times longer."""

IDLE_SECONDS: Final = 300.0

_LOAD = "SELECT version, state, due_at, box FROM valetkey_records WHERE name = %s"
# FOR SHARE: a deletion of this name that is under way is waited for, and the version it leaves behind is seen.
_INSERT = """INSERT INTO valetkey_records (name, version, state, due_at, box)
  SELECT %s, 1 + f.version, %s, %s, %s FROM (SELECT version FROM valetkey_forgotten WHERE slot = %s FOR SHARE) AS f
  ON CONFLICT (name) DO NOTHING"""
_UPDATE = """UPDATE valetkey_records SET version = version + 1, state = %s, due_at = %s, box = %s
  WHERE name = %s AND version = %s"""
# The slot is locked before the record, as _INSERT does it, so that the two never wait for each other.
_DELETE = """WITH held AS (SELECT slot FROM valetkey_forgotten WHERE slot = %s FOR UPDATE),
  gone AS (DELETE FROM valetkey_records AS r USING held WHERE r.name = %s AND r.version = %s
    RETURNING r.version, held.slot)
  UPDATE valetkey_forgotten AS f SET version = greatest(f.version, gone.version), mark = %s
  FROM gone WHERE f.slot = gone.slot"""
_MARK = "SELECT mark FROM valetkey_forgotten WHERE slot = %s"
_NAMES = "SELECT name FROM valetkey_records WHERE name > %s AND name >= %s AND name < %s ORDER BY name LIMIT %s"
_DUE = """SELECT name FROM valetkey_records WHERE due_at <= %s AND name >= %s AND name < %s
  ORDER BY due_at, name LIMIT %s"""
_COUNT = "SELECT state, count(*) FROM valetkey_records WHERE name >= %s AND name < %s GROUP BY state"

# YugabyteDB hands each session a block of ids, so that what is written later may have a lower one.
_WORDS = Words("%s", "valetkey_", "BEGIN", PATIENCE, "SELECT position('-YB-' in version()) = 0")

# In one statement, so that a database far away is asked once; and in no more than one, which some poolers refuse.
_SESSION = (
    f"""SELECT set_config('statement_timeout', '{STATEMENT_SECONDS}s', false),
      set_config('lock_timeout', '{LOCK_SECONDS}s', false),
    -- A commit that is answered must survive a power cut; a stricter setting of the server's owner is left alone.
      CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END,
    -- Every statement here has one index it must use. So it is planned once and not at every call, which costs as much
    -- as running it, and no stale statistics make it sort or read a whole table. Engines without a setting do without.
      (SELECT count(set_config(s.name, w.value, false)) FROM pg_settings AS s JOIN (VALUES
         ('plan_cache_mode', 'force_generic_plan'), ('enable_sort', 'off'), ('enable_seqscan', 'off')
       ) AS w (name, value) ON s.name = w.name)""",  # noqa: S608  # what is written into it are numbers of this file
)

_ABANDONED: Final[list[object]] = []
"""Pools of a parent process: kept, so that nothing closes the connections they share with it."""


class PostgresStore:
    """Keep records in a PostgreSQL database. Made by `open`; the pool never crosses a fork."""

    def __init__(self, address: Address, *, connections: int = MOST_CONNECTIONS) -> None:
        self.where = address.where
        self._address = address
        self._most = connections
        self._own = _Own()
        self.ledger = SqlLedger(_WORDS, self._once, lambda ask: self._work(ask)[0])

    @classmethod
    def open(cls, url: str, *, create: bool, connections: int = MOST_CONNECTIONS) -> PostgresStore:
        """Reach the database and bring its tables to this version; raises the VaultErrors, or InvalidInput."""
        import_psycopg()
        store = cls(Address(url), connections=connections)
        with store.apart() as connection:
            try:
                store.worded(lambda: prepare(connection, store.where, create=create))
            except VaultMissing:
                raise no_vault(f"postgresql://{store.where}", url) from None
        return store

    def load(self, name: str) -> Entry | None:
        """Return a record as it is now."""
        rows = self._rows(_LOAD, (name,))
        return Entry(rows[0][1], rows[0][3], moment(rows[0][2]), rows[0][0]) if rows else None

    def swap(self, name: str, seen: int, entry: Entry | None) -> bool:
        """Compare and set, in one statement that is durable when this returns.

        When a connection broke before its answer, the statement is sent again: it is a comparison, so it can happen
        once only. If then the version has moved on, what stands there tells whether it was we who moved it.
        """
        mark = os.urandom(16)
        statement, values = _change(name, seen, entry, mark)
        done, doubt = self._work(lambda connection: connection.execute(statement, values).rowcount == 1)
        if done or not doubt:
            return done
        if entry is None:
            return [bytes(row[0]) for row in self._rows(_MARK, (_slot(name),))] == [mark]
        held = self.load(name)
        # A sealed box holds 96 random bits of its own, so an equal one is ours.
        return held is not None and held.box == entry.box and (not seen or held.version == seen + 1)

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return names in order."""
        return [row[0] for row in self._rows(_NAMES, (after, *span(prefix), limit))]

    def due(self, prefix: str, before: datetime, limit: int) -> list[str]:
        """Return what is due, the longest due first."""
        return [row[0] for row in self._rows(_DUE, (millis(before), *span(prefix), limit))]

    def count(self, prefix: str) -> dict[str, int]:
        """Return how many records there are by state."""
        return dict(self._rows(_COUNT, span(prefix)))

    def close(self) -> None:
        """Close the connections; the store opens new ones when it is used again."""
        own = self._mine()
        with own.lock:
            own.pool = None
            own.end()

    def apart(self) -> Connection[Any]:
        """Return a connection outside the pool, for long work; the caller closes it."""
        import psycopg

        try:
            connection = psycopg.connect(self._address.conninfo, autocommit=True)
            _configure(connection)
        except psycopg.Error as refusal:
            raise unreached(refusal, self.where) from None
        return connection

    def worded(self, work: Callable[[], T]) -> T:
        """Do work and give what psycopg raises as errors of ours."""
        import psycopg

        try:
            return work()
        except psycopg.Error as refusal:
            raise explained(refusal, self.where) from None

    def _once(self, work: Callable[[Connection[Any]], T]) -> T:
        """Do what is not done again where the answer was lost: whoever asked finds out from the heads."""
        return self._work(work, again=False)[0]

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        return self._work(lambda connection: connection.execute(statement, values).fetchall())[0]

    def _work(self, work: Callable[[Connection[Any]], T], *, again: bool = True) -> tuple[T, bool]:
        """Do what may be done twice, and say whether an earlier attempt may have been done as well.

        Not `again` where it may not: then only what the server has rolled back is done once more.
        """
        import psycopg
        from psycopg_pool import PoolTimeout

        deadline = time.monotonic() + PATIENCE
        doubt = False
        while True:
            lost = False
            try:
                with self._living().connection(timeout=max(0.1, deadline - time.monotonic())) as connection:
                    try:
                        return work(connection), doubt
                    finally:
                        lost = connection.closed
            except PoolTimeout:
                raise _doubted(self._why(), doubt=doubt) from None
            except psycopg.Error as refusal:
                doubt = doubt or lost
                if not ((lost and again) or refusal.sqlstate in _AGAIN) or time.monotonic() >= deadline:
                    raise _doubted(explained(refusal, self.where), doubt=doubt) from None

    def _why(self) -> VaultError:
        """Return why the pool gave no connection: it is asked once more, because the pool keeps no reasons."""
        try:
            self.apart().close()
        except VaultError as refusal:
            return refusal
        return StoreUnavailable(
            f"all {self._most} connections to {self.where} are busy", fix="run more processes, or ask less at once"
        )

    def _mine(self) -> _Own:
        if self._own.pid != os.getpid():
            # Threads and sockets of the pool are the parent's, and its lock may never open here.
            _ABANDONED.append(self._own)
            self._own = _Own()
        return self._own

    def _living(self) -> ConnectionPool[Connection[Any]]:
        own = self._mine()
        with own.lock:
            if own.pool is None:
                own.pool = self._made()
                own.end = weakref.finalize(self, _closed, own.pool, own.pid)  # at the latest when the program ends
            return own.pool

    def _made(self) -> ConnectionPool[Connection[Any]]:
        from psycopg_pool import ConnectionPool

        return ConnectionPool(
            self._address.conninfo,
            kwargs={"autocommit": True},
            min_size=0,
            max_size=self._most,
            configure=_configure,
            name=f"valetkey {self.where}",
            timeout=PATIENCE,
            max_idle=IDLE_SECONDS,
            reconnect_timeout=PATIENCE / 2,  # then the next call begins anew, instead of waiting out a long backoff
            num_workers=2,
            open=True,
        )

    def __repr__(self) -> str:
        return f"<PostgresStore {self.where}>"


_AGAIN: Final = frozenset({"40001", "40P01"})
"""SQLSTATEs of a statement that was rolled back because of others and may be sent again (PostgreSQL, appendix A)."""


class _Own:
    """Be what belongs to one process: a pool made on demand, and the lock under which it is made."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.pool: ConnectionPool[Connection[Any]] | None = None
        self.end: Callable[[], object] = lambda: None


def import_psycopg() -> None:
    """Load the driver; raises InvalidInput where it is not installed."""
    try:
        import psycopg  # noqa: F401  # asked for its presence
        import psycopg_pool  # noqa: F401  # asked for its presence
    except ImportError:
        raise InvalidInput(
            "a vault in PostgreSQL needs the driver psycopg, which is not installed", fix=to_add("postgres")
        ) from None


def _configure(connection: Connection[Any]) -> None:
    for statement in _SESSION:
        connection.execute(statement)


def _change(name: str, seen: int, entry: Entry | None, mark: bytes) -> tuple[str, tuple[Any, ...]]:
    if entry is None:
        return _DELETE, (_slot(name), name, seen, mark)
    if seen:
        return _UPDATE, (entry.state, millis(entry.due_at), entry.box, name, seen)
    return _INSERT, (name, entry.state, millis(entry.due_at), entry.box, _slot(name))


def _slot(name: str) -> int:
    """Return which row of valetkey_forgotten a name belongs to; stored, so it never changes."""
    return zlib.crc32(name.encode()) % SLOTS


def _doubted(error: VaultError, *, doubt: bool) -> VaultError:
    if not doubt:
        return error
    return StoreUnavailable(
        f"{error.message}; whether the last change was saved is not known yet",
        cause="the connection broke before the server answered, and it cannot be asked now",
        fix=error.fix,
        doubt=True,
    )


def _closed(pool: ConnectionPool[Connection[Any]], pid: int) -> None:
    if pid == os.getpid():
        pool.close()
