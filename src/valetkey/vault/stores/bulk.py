"""Whole vaults at a time, for copying, backup and restore: rows as they lie in the tables of SQLite or PostgreSQL.

The two dialects differ in a few statements, which stand in one table; the rest is the same text. What may not be here:
keys, and what the records mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from valetkey.audit.ledger import Head
from valetkey.errors import StoreUnavailable
from valetkey.vault.stores import sqlite
from valetkey.vault.stores.base import Store
from valetkey.vault.stores.ledger import HEAD, LINE
from valetkey.vault.stores.rows import AuditRow, Row
from valetkey.vault.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from valetkey.vault.stores.postgres import PostgresStore

PAGE: Final = 1000

KEYRING: Final = "keyring"

_EVENTS: Final = ("INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Dialect:
    """Be what differs between the two: how values and tables are written, and some whole statements."""

    value: str
    prefix: str
    read: str
    write: tuple[str, ...]
    freeze: tuple[str, ...]
    thaw: tuple[str, ...]
    after_lines: tuple[str, ...] = ()

    def said(self, statement: str) -> str:
        """Return a statement in this dialect."""
        return statement.replace("?", self.value).replace("{t}", self.prefix)


SQLITE: Final = Dialect(
    value="?",
    prefix="",
    read="BEGIN",  # in WAL, a reader sees one moment while writers go on
    write=("BEGIN IMMEDIATE",),
    freeze=tuple(
        f"CREATE TRIGGER frozen_{event.lower()} BEFORE {event} ON records BEGIN SELECT RAISE(ABORT, 'moved'); END"
        for event in _EVENTS
    ),
    thaw=tuple(f"DROP TRIGGER IF EXISTS frozen_{event.lower()}" for event in _EVENTS),
)

POSTGRES: Final = Dialect(
    value="%s",
    prefix="valetkey_",
    read="BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    write=("BEGIN", "LOCK TABLE valetkey_records IN EXCLUSIVE MODE"),  # readers go on
    freeze=(
        """CREATE OR REPLACE FUNCTION valetkey_frozen() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'moved' USING ERRCODE = 'VK001'; END $$""",
        """CREATE TRIGGER valetkey_frozen BEFORE INSERT OR UPDATE OR DELETE ON valetkey_records
           FOR EACH STATEMENT EXECUTE FUNCTION valetkey_frozen()""",
    ),
    thaw=("DROP TRIGGER IF EXISTS valetkey_frozen ON valetkey_records",),
    after_lines=("SELECT setval('valetkey_audit_ids', coalesce(max(id), 0) + 1, false) FROM valetkey_audit",),
)

_COLUMNS = "name, version, state, due_at, box"
_LINE = f"id, {LINE}"
_MARKS = ", ".join("?" for _ in AuditRow._fields)
_SAME = ", ".join(f"{column} = excluded.{column}" for column in ("version", "state", "due_at", "box"))
_SAME_LINE = ", ".join(f"{column} = excluded.{column}" for column in _LINE.split(", ")[1:])


class Bulk:
    """Read and write a store's tables over one connection. Made by `bulk_of`; close it."""

    def __init__(self, store: SqliteStore | PostgresStore) -> None:
        self._connection: Any
        self._store = store
        if isinstance(store, SqliteStore):
            self._dialect = SQLITE
            self._connection = store.worded(lambda: sqlite.connect(store.path))
        else:
            self._dialect = POSTGRES
            self._connection = store.apart()
            self._do("SET statement_timeout = 0")  # a million rows take longer than one

    # ── transactions ──────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See one moment of the store, however long it takes and whatever others write."""
        yield from self._within((self._dialect.read,))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer, and have all of it or nothing."""
        yield from self._within(self._dialect.write)

    def _within(self, begin: tuple[str, ...]) -> Iterator[None]:
        for statement in begin:
            self._do(statement)
        try:
            yield
        except BaseException:
            with suppress(Exception):  # what went wrong first is what is told
                self._connection.execute("ROLLBACK")
            raise
        self._do("COMMIT")

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    def row(self, name: str) -> Row | None:
        """Return one record."""
        found = self._all(f"SELECT {_COLUMNS} FROM {{t}}records WHERE name = ?", (name,))  # noqa: S608  # no values
        return _row(found[0]) if found else None

    def rows(self, after: str) -> list[Row]:
        """Return the next page of records, in the order of their names."""
        page = f"SELECT {_COLUMNS} FROM {{t}}records WHERE name > ? ORDER BY name LIMIT ?"  # noqa: S608  # no values
        return [_row(found) for found in self._all(page, (after, PAGE))]

    def versions(self, after: str, until: str | None) -> dict[str, int]:
        """Return names and versions of the records after one name, up to another and with it (None: to the end)."""
        if until is None:
            return dict(self._all("SELECT name, version FROM {t}records WHERE name > ?", (after,)))
        return dict(
            self._all("SELECT name, version FROM {t}records WHERE name > ? AND name <= ?", (after, until)),
        )

    def put(self, rows: Iterable[Row]) -> None:
        """Write records as they are, versions included."""
        self._many(
            f"INSERT INTO {{t}}records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET {_SAME}",  # noqa: S608  # no values
            rows,
        )

    def drop(self, names: Iterable[str]) -> None:
        """Delete records."""
        self._many("DELETE FROM {t}records WHERE name = ?", ((name,) for name in names))

    def clear(self) -> None:
        """Delete all records and the audit log."""
        self._do("DELETE FROM {t}records")
        self._do("DELETE FROM {t}audit")
        self._do("DELETE FROM {t}audit_heads")

    def count(self) -> int:
        """Return how many records there are."""
        return int(self._all("SELECT count(*) FROM {t}records")[0][0])

    def highest(self) -> int:
        """Return the highest version that any record ever had."""
        held = self._all("SELECT coalesce(max(version), 0) FROM {t}records")[0][0]
        return max(int(held), self.floor())

    def floor(self) -> int:
        """Return the highest version that was forgotten."""
        return int(self._all("SELECT max(version) FROM {t}forgotten")[0][0])

    def raise_floor(self, version: int) -> None:
        """See to it that records made from now on begin above a version."""
        self._do("UPDATE {t}forgotten SET version = ? WHERE version < ?", (version, version))

    # ── the state of the whole ────────────────────────────────────────────────────────────────────────────────

    def mark(self, state: str, *, frozen: bool) -> None:
        """Write what the whole vault is into its keyring's state; frozen, no record of it can be changed by anybody."""
        with self.writing():
            self.mark_within(state, frozen=frozen)

    def mark_within(self, state: str, *, frozen: bool) -> None:
        """Do as `mark`, inside a transaction."""
        for statement in self._dialect.thaw:
            self._do(statement)
        self._do("UPDATE {t}records SET state = ? WHERE name = ?", (state, KEYRING))
        for statement in self._dialect.freeze if frozen else ():
            self._do(statement)

    # ── the audit log ─────────────────────────────────────────────────────────────────────────────────────────

    def lines(self, after: int) -> list[AuditRow]:
        """Return the next page of the audit log."""
        page = f"SELECT {_LINE} FROM {{t}}audit WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608  # no values
        return [_line(found) for found in self._all(page, (after, PAGE))]

    def lines_between(self, after: int, until: int | None) -> dict[int, AuditRow]:
        """Return the lines after one, up to another and with it (None: to the end)."""
        text = f"SELECT {_LINE} FROM {{t}}audit WHERE id > ?"  # noqa: S608  # no values
        found = self._all(text, (after,)) if until is None else self._all(f"{text} AND id <= ?", (after, until))
        return {int(row[0]): _line(row) for row in found}

    def put_lines(self, rows: Iterable[AuditRow]) -> None:
        """Write lines as they are; lines written later come after them."""
        text = f"INSERT INTO {{t}}audit ({_LINE}) VALUES ({_MARKS})"  # noqa: S608  # no values
        text += f" ON CONFLICT (id) DO UPDATE SET {_SAME_LINE}"
        self._many(text, rows)
        for statement in self._dialect.after_lines:
            self._all(statement)

    def drop_lines(self, ids: Iterable[int]) -> None:
        """Delete lines of a log that is being replaced by another."""
        self._many("DELETE FROM {t}audit WHERE id = ?", ((number,) for number in ids))

    def heads(self) -> list[Head]:
        """Return the heads of the audit log's chains, and the roster."""
        text = f"SELECT {HEAD} FROM {{t}}audit_heads ORDER BY ordinal, writer"  # noqa: S608  # no values
        return [Head(*found[:3], *map(bytes, found[3:])) for found in self._all(text)]

    def put_heads(self, heads: Iterable[Head]) -> None:
        """Write heads in the place of those that are there."""
        with self.writing():
            self.put_heads_within(heads)

    def put_heads_within(self, heads: Iterable[Head]) -> None:
        """Do as `put_heads`, inside a transaction."""
        self._do("DELETE FROM {t}audit_heads")
        self._many(f"INSERT INTO {{t}}audit_heads ({HEAD}) VALUES (?, ?, ?, ?, ?)", heads)  # noqa: S608  # no values

    # ── a file ────────────────────────────────────────────────────────────────────────────────────────────────

    def sound(self) -> bool:
        """Say whether SQLite finds the file's structure sound; a server looks after its own."""
        if self._dialect is not SQLITE:
            return True
        return [tuple(row) for row in self._all("PRAGMA integrity_check(1)")] == [("ok",)]

    def one_file(self) -> None:
        """Make the file complete without its write-ahead log; raises StoreUnavailable where others have it open."""
        try:
            self._connection.execute("PRAGMA busy_timeout = 2000")
            left = self._connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0] != "delete"
        except sqlite3.OperationalError:
            left = True
        if left:
            raise StoreUnavailable(
                "the vault is open in other processes",
                cause="what they write while it is replaced would be lost",
                fix="stop them (`valetkey serve`, `valetkey keep`, your programs), then try again",
            )

    def with_log(self) -> None:
        """Let readers and a writer work beside each other, as a vault in use does."""
        self._do("PRAGMA journal_mode = WAL")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        self._store.worded(lambda: self._connection.execute(self._dialect.said(statement), values))

    def _all(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        said = self._dialect.said(statement)
        found: list[Any] = self._store.worded(lambda: self._connection.execute(said, values).fetchall())
        return found

    def _many(self, statement: str, rows: Iterable[Any]) -> None:
        said = self._dialect.said(statement)
        self._store.worded(lambda: self._connection.cursor().executemany(said, list(rows)))


def bulk_of(store: Store) -> Bulk:
    """Return a store's tables, over a connection of its own."""
    from valetkey.vault.stores.postgres import PostgresStore

    if not isinstance(store, SqliteStore | PostgresStore):
        raise TypeError(f"{type(store).__name__} has no tables")
    return Bulk(store)


def _row(found: Any) -> Row:
    name, version, state, due_at, box = found
    return Row(name, version, state, due_at, bytes(box))


def _line(found: Any) -> AuditRow:
    return AuditRow(*found[:-2], *map(bytes, found[-2:]))
