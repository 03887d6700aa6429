"""The default store: one SQLite file, safe for many threads and many processes on one machine.

WAL, so that readers never wait; synchronous=FULL, so that a rotated refresh token that was saved survives a power
cut; one statement a change, so that there is nothing half-written. Not for network file systems: WAL needs shared
memory (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from valetkey.errors import StoreUnavailable, ValetkeyError, VaultUnreadable
from valetkey.values import Entry, shown_path
from valetkey.vault.private import new_file, private_folder, refuse_shared
from valetkey.vault.stores.ledger import SqlLedger, Words
from valetkey.vault.stores.missing import no_vault
from valetkey.vault.stores.rows import millis, moment, span
from valetkey.vault.stores.sqlite_schema import APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION

T = TypeVar("T")

BUSY_SECONDS: Final = 15.0
"""How long a writer waits for others; a commit takes milliseconds, so only a stuck process makes it this long."""

BUSY_PAUSE: Final = 0.005
"""Seconds between attempts where SQLite itself does not wait; making a vault takes a few milliseconds."""

IDLE_CONNECTIONS: Final = 16

CACHE_KB: Final = 32_000
"""Of each connection, as far as the file is that large: most of the index of a million names (bench/stores.py)."""

_LOAD = "SELECT version, state, due_at, box FROM records WHERE name = ?"
_INSERT = """INSERT INTO records (name, version, state, due_at, box)
  SELECT ?, 1 + version, ?, ?, ? FROM forgotten WHERE true ON CONFLICT (name) DO NOTHING"""
_UPDATE = "UPDATE records SET version = version + 1, state = ?, due_at = ?, box = ? WHERE name = ? AND version = ?"
_DELETE = "DELETE FROM records WHERE name = ? AND version = ?"
# Two, because SQLite begins at only one of several lower bounds, and would read all that lies before the page.
_NAMES = "SELECT name FROM records WHERE name >= ? AND name < ? ORDER BY name LIMIT ?"
_NAMES_AFTER = "SELECT name FROM records WHERE name > ? AND name < ? ORDER BY name LIMIT ?"
_DUE = "SELECT name FROM records WHERE due_at <= ? AND name >= ? AND name < ? ORDER BY due_at, name LIMIT ?"
_COUNT = "SELECT state, count(*) FROM records WHERE name >= ? AND name < ? GROUP BY state"


class SqliteStore:
    """Keep records in one SQLite file. Made by `open`; connections are pooled and never cross a fork."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = str(path)
        self._idle: deque[_Pooled] = deque()
        self._pid = os.getpid()
        self.ledger = SqlLedger(Words("?", "", "BEGIN IMMEDIATE"), self._with, self._with)

    @classmethod
    def open(cls, path: Path, *, create: bool) -> SqliteStore:
        """Open the file, or create it with mode 0600; raises VaultMissing, VaultUnreadable or StoreUnavailable."""
        if not _there(path):
            if not create:
                raise no_vault(path)
            _touch(path)
        refuse_shared(path)
        _refuse_unusable(path, create=create)
        store = cls(path)
        try:
            with store._connection() as connection:
                _prepare(connection, path)
        except _Denied as refusal:
            store.close()
            raise VaultUnreadable(refusal.message, fix=refusal.fix, sqlite=str(refusal.evidence["sqlite"])) from None
        except ValetkeyError:
            store.close()
            raise
        return store

    def load(self, name: str) -> Entry | None:
        """Return a record as it is now."""
        with self._connection() as connection:
            row = connection.execute(_LOAD, (name,)).fetchone()
        return None if row is None else Entry(row[1], row[3], moment(row[2]), row[0])

    def swap(self, name: str, seen: int, entry: Entry | None) -> bool:
        """Compare and set, in one statement that is durable when this returns."""
        with self._connection() as connection:
            if entry is None:
                return connection.execute(_DELETE, (name, seen)).rowcount == 1
            due_at = millis(entry.due_at)
            if seen:
                return connection.execute(_UPDATE, (entry.state, due_at, entry.box, name, seen)).rowcount == 1
            return connection.execute(_INSERT, (name, entry.state, due_at, entry.box)).rowcount == 1

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return names in order."""
        first, end = span(prefix)
        statement, begin = (_NAMES_AFTER, after) if after >= first else (_NAMES, first)
        return [row[0] for row in self._rows(statement, (begin, end, limit))]

    def due(self, prefix: str, before: datetime, limit: int) -> list[str]:
        """Return what is due, the longest due first."""
        return [row[0] for row in self._rows(_DUE, (millis(before), *span(prefix), limit))]

    def count(self, prefix: str) -> dict[str, int]:
        """Return how many records there are by state."""
        return dict(self._rows(_COUNT, span(prefix)))

    def close(self) -> None:
        """Close the connections that are not in use."""
        if self._pid != os.getpid():
            return
        with suppress(IndexError):
            while True:
                self._idle.pop()[1].close()

    def worded(self, work: Callable[[], T]) -> T:
        """Do work and give what sqlite3 raises as errors of ours."""
        try:
            return work()
        except sqlite3.Error as refusal:
            _explain(refusal, self.path)

    def _with(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._connection() as connection:
            return work(connection)

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(statement, values).fetchall()

    def _connection(self) -> _Borrowed:
        return _Borrowed(self)

    def take(self) -> _Pooled:
        """Return a connection to the file that has our path now.

        SQLite goes on reading and writing a file that was deleted or replaced, and what is written there is lost.
        """
        if self._pid != os.getpid():
            # A SQLite connection must not be used, nor closed, in a forked child (https://sqlite.org/howtocorrupt.html).
            _ABANDONED.append(self._idle)
            self._idle, self._pid = deque(), os.getpid()
        file = _identity(self._file)
        while self._idle:
            try:
                pooled = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if pooled[0] == file:
                return pooled
            # Not closed: the last to close a WAL file deletes what lies beside the path, which is another's now.
            _ABANDONED.append(pooled)
        return file, connect(self.path)

    def give_back(self, pooled: _Pooled) -> None:
        """Keep a connection for the next who wants one, if there is room and its transaction was ended."""
        if len(self._idle) < IDLE_CONNECTIONS and not pooled[1].in_transaction:
            self._idle.append(pooled)
        else:
            pooled[1].close()

    def __repr__(self) -> str:
        return f"<SqliteStore {self.path}>"


class _Borrowed:
    """Lend a connection of a store, take it back, and give what sqlite3 raises as errors of ours.

    A class, because `contextmanager` takes a tenth of the time of a whole load.
    """

    __slots__ = ("_pooled", "_store")

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._pooled = self._store.take()
        except sqlite3.Error as refusal:
            _explain(refusal, self._store.path)
        return self._pooled[1]

    def __exit__(self, _kind: object, refusal: BaseException | None, _trace: object) -> None:
        self._store.give_back(self._pooled)
        if isinstance(refusal, sqlite3.Error):
            _explain(refusal, self._store.path)


_Pooled: TypeAlias = tuple[tuple[int, int] | None, sqlite3.Connection]
"""Which file (device and inode), and a connection to it."""

_ABANDONED: Final[list[object]] = []
"""Connections of a parent process, or to a file that is gone: kept, so that nothing closes them."""


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  # for every token: a Path would write itself out anew each time
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _there(path: Path) -> bool:
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as refusal:
        raise VaultUnreadable(
            f"{shown_path(str(path))} cannot be looked at: {_said(refusal)}",
            fix="check the path, and owner and permissions of its folders",
        ) from None
    if stat.S_ISREG(kind):
        return True
    raise VaultUnreadable(f"{shown_path(str(path))} is not a file", fix="name a file with --vault or VALETKEY_VAULT")


def _said(refusal: OSError | ValueError) -> str:
    return getattr(refusal, "strerror", "") or str(refusal)


def _refuse_unusable(path: Path, *, create: bool) -> None:
    """Raise VaultUnreadable for a file that is not ours to read, or empty where no vault is to be made.

    Whoever only looks does not make a vault of what may have been one.
    """
    if not os.access(path, os.R_OK):
        raise VaultUnreadable(
            f"{shown_path(str(path))} cannot be used: permission denied",
            cause="it belongs to another user",
            fix="use a vault of your own, or ask its owner",
        )
    if not create and path.stat().st_size == 0:
        raise VaultUnreadable(
            f"{shown_path(str(path))} is empty",
            cause="it was cut to nothing, or is not a vault",
            fix="restore it from a backup; or delete it, and `valetkey app add …` makes a new vault",
        )


def _touch(path: Path) -> None:
    try:
        private_folder(path.parent)
        with suppress(FileExistsError):  # made by another process meanwhile: then it is looked at like any other
            new_file(path).close()
    except OSError as refusal:
        raise VaultUnreadable(
            f"no vault can be created at {shown_path(str(path))}: {refusal.strerror}",
            fix="choose another place with --vault or VALETKEY_VAULT, or make the folder writable",
        ) from None


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection as this store uses it, to a file that is there."""
    # mode=rw: never create a file here, so that a vault deleted under us is an error and not an empty vault.
    uri = f"{path.resolve().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS, cached_statements=32
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    except sqlite3.Error:  # no database at all: nothing of it may stay open
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is a vault of this version, or make an empty file one."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _prepared(connection, path)
        except sqlite3.OperationalError as refusal:
            # Who changes a new file to WAL is not made to wait for others, as all other statements are, but refused.
            if _primary(refusal) != "SQLITE_BUSY" or time.monotonic() >= deadline:
                raise
        time.sleep(BUSY_PAUSE)


def _prepared(connection: sqlite3.Connection, path: Path) -> None:
    header, tables, version = _look(connection)
    if header == 0 and tables == 0:  # and only then: another program's file is left as it is, journal mode included
        connection.execute("PRAGMA journal_mode = WAL")
    ours = header == APPLICATION_ID and 0 < version < SCHEMA_VERSION
    if ours or (header == 0 and tables == 0):
        _migrate(connection)
        header, tables, version = _look(connection)
    if header != APPLICATION_ID:
        shown = shown_path(str(path))
        raise VaultUnreadable(f"{shown} is an SQLite file of another program", fix="name the right file with --vault")
    if version > SCHEMA_VERSION:
        raise VaultUnreadable(f"{shown_path(str(path))} was written by a later valetkey", fix="use the newest valetkey")


def _migrate(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring them to this version, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the lock: another process may have done it meanwhile.
        header, tables, version = _read(connection)
        if header == 0 and tables == 0:
            version = 1
            for statement in (*SCHEMA, f"PRAGMA application_id = {APPLICATION_ID}"):
                connection.execute(statement)
            header = APPLICATION_ID
        if header == APPLICATION_ID and version < SCHEMA_VERSION:
            for statements in MIGRATIONS[version - 1 :]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _look(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Read signature, number of tables and version as they were at one moment, while others may be making the vault."""
    connection.execute("BEGIN")
    try:
        return _read(connection)
    finally:
        connection.execute("ROLLBACK")


def _read(connection: sqlite3.Connection) -> tuple[int, int, int]:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    header = connection.execute("PRAGMA application_id").fetchone()[0]
    return header, tables, connection.execute("PRAGMA user_version").fetchone()[0]


_TROUBLE: Final = {
    "SQLITE_FULL": ("the disk is full", "free some space; nothing was lost or half-written"),
    "SQLITE_IOERR": ("reading or writing failed", "check the disk; nothing was half-written"),
    "SQLITE_BUSY": ("another process held it too long", "find what holds the file open, then try again"),
    "SQLITE_LOCKED": ("another process held it too long", "find what holds the file open, then try again"),
    "SQLITE_READONLY": ("it cannot be written", "check owner and permissions of the file and its folder"),
    "SQLITE_CANTOPEN": ("it cannot be opened", "check that it exists, and owner and permissions of its folder"),
    # The only rule that a statement of ours can break is that of bulk.py: a vault that was moved is not written to.
    "SQLITE_CONSTRAINT": ("it was moved to another place", "open it there; start programs that use it anew"),
    "SQLITE_PERM": ("permission denied", "check owner and permissions"),
}
_UNREADABLE: Final = {
    "SQLITE_NOTADB": ("it is not a vault", "name the right file with --vault"),
    "SQLITE_CORRUPT": ("it is damaged", "restore it from a backup"),
    "SQLITE_AUTH": ("permission denied", "check owner and permissions"),
}


def _name(refusal: sqlite3.Error) -> str:
    return getattr(refusal, "sqlite_errorname", "") or "SQLITE_ERROR"


def _primary(refusal: sqlite3.Error) -> str:
    """Return SQLite's name of what went wrong without its details: SQLITE_BUSY for SQLITE_BUSY_SNAPSHOT."""
    return "_".join(_name(refusal).split("_")[:2])


class _Denied(StoreUnavailable):
    """Say that permissions were taken away of a vault in use: an answer of a provider has to be kept all the same.

    So it is handled like a store that is away; who calls is told that trying again does not help.
    """

    code = VaultUnreadable.code
    exit_code = VaultUnreadable.exit_code


def _denied(refusal: sqlite3.Error, path: Path) -> bool:
    """Say whether permissions are what is wrong, and not a file that was moved or a lack of descriptors."""
    if _primary(refusal) in {"SQLITE_READONLY", "SQLITE_PERM"}:
        return _name(refusal) != "SQLITE_READONLY_DBMOVED"
    needed = ((path, os.R_OK), (path.parent, os.W_OK | os.X_OK))
    return _primary(refusal) == "SQLITE_CANTOPEN" and any(
        os.access(place, os.F_OK) and not os.access(place, how) for place, how in needed
    )


def _explain(refusal: sqlite3.Error, path: Path) -> NoReturn:
    """Raise a sqlite3 error as one of ours; SQLite's messages hold no values of ours, and are not repeated anyway."""
    name, primary, shown = _name(refusal), _primary(refusal), shown_path(str(path))
    if primary in _UNREADABLE:
        what, fix = _UNREADABLE[primary]
        raise VaultUnreadable(f"{shown} cannot be used: {what}", fix=fix, sqlite=name) from None
    what, fix = _TROUBLE.get(primary, (f"SQLite says {name}", "try again; if it stays so, check the file and the disk"))
    if _denied(refusal, path):
        raise _Denied(f"{shown} cannot be used: {what}", fix=fix, sqlite=name) from None
    raise StoreUnavailable(f"{shown} cannot be used now: {what}", fix=fix, sqlite=name) from None
