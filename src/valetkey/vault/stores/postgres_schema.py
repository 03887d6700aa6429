"""The tables of the PostgreSQL store, and how they come to be.

Kept to what CockroachDB and YugabyteDB also understand: no advisory locks, and statements that may be run again
after half of them were done. The one row of valetkey_meta is the lock: whoever changes tables holds it.
What may not be here: statements on records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from valetkey.errors import VaultUnreadable
from valetkey.vault.stores.missing import no_vault

if TYPE_CHECKING:
    from psycopg import Connection

SLOTS: Final = 16
"""Rows of valetkey_forgotten. Whoever deletes locks one of them, so that sixteen deletions can be under way at once."""

_META: Final = (
    "CREATE TABLE IF NOT EXISTS valetkey_meta (one SMALLINT PRIMARY KEY, version INTEGER NOT NULL)",
    "INSERT INTO valetkey_meta (one, version) VALUES (1, 0) ON CONFLICT (one) DO NOTHING",
)

_FIRST: Final = (
    # COLLATE "C": names sort by their bytes, as in SQLite, whatever language the database was created for.
    """CREATE TABLE IF NOT EXISTS valetkey_records (
         name TEXT COLLATE "C" PRIMARY KEY, version BIGINT NOT NULL, state TEXT NOT NULL, due_at BIGINT,
         box BYTEA NOT NULL
       )""",
    "CREATE INDEX IF NOT EXISTS valetkey_records_due ON valetkey_records (due_at, name) WHERE due_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS valetkey_records_state ON valetkey_records (name, state)",
    # The highest version that was forgotten, and the mark of who forgot last; see _DELETE in postgres.py.
    """CREATE TABLE IF NOT EXISTS valetkey_forgotten (
         slot SMALLINT PRIMARY KEY, version BIGINT NOT NULL, mark BYTEA NOT NULL
       )""",
    *(
        f"INSERT INTO valetkey_forgotten (slot, version, mark) VALUES ({slot}, 0, '') ON CONFLICT (slot) DO NOTHING"  # noqa: S608  # a number of ours
        for slot in range(SLOTS)
    ),
    "CREATE SEQUENCE IF NOT EXISTS valetkey_audit_ids",
    """CREATE TABLE IF NOT EXISTS valetkey_audit (
         id BIGINT PRIMARY KEY DEFAULT nextval('valetkey_audit_ids'), mark BYTEA UNIQUE,
         at BIGINT NOT NULL, actor TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
         outcome TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL
       )""",
)

_CHAINS: Final = (
    *(
        f"ALTER TABLE valetkey_audit ADD COLUMN IF NOT EXISTS {column}"
        for column in (
            "request TEXT NOT NULL DEFAULT ''",
            "fingerprint TEXT NOT NULL DEFAULT ''",
            """writer TEXT COLLATE "C" NOT NULL DEFAULT ''""",
            "number BIGINT NOT NULL DEFAULT 0",
            "hash BYTEA NOT NULL DEFAULT ''",
            "signature BYTEA NOT NULL DEFAULT ''",
        )
    ),
    """CREATE TABLE IF NOT EXISTS valetkey_audit_heads (
         writer TEXT COLLATE "C" PRIMARY KEY, ordinal BIGINT NOT NULL, number BIGINT NOT NULL, box BYTEA NOT NULL,
         floor BYTEA NOT NULL
       )""",
    "CREATE UNIQUE INDEX IF NOT EXISTS valetkey_audit_chain ON valetkey_audit (writer, number) WHERE number > 0",
    "CREATE INDEX IF NOT EXISTS valetkey_audit_writers ON valetkey_audit (writer)",
    "CREATE INDEX IF NOT EXISTS valetkey_audit_subject ON valetkey_audit (subject, id)",
    "CREATE INDEX IF NOT EXISTS valetkey_audit_kind ON valetkey_audit (kind, id)",
    "CREATE INDEX IF NOT EXISTS valetkey_audit_request ON valetkey_audit (request, id) WHERE request <> ''",
    """CREATE INDEX IF NOT EXISTS valetkey_audit_fingerprint ON valetkey_audit (fingerprint, id)
         WHERE fingerprint <> ''""",
)

_OUTSIDE: Final = ("CREATE INDEX IF NOT EXISTS valetkey_audit_outside ON valetkey_audit (id) WHERE number < 1",)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _CHAINS, _OUTSIDE)
"""What leads from each version of the tables to the next; only ever added to."""

SCHEMA_VERSION: Final = len(MIGRATIONS)

_ATTEMPTS: Final = (
    5  # CREATE … IF NOT EXISTS still fails when two create at the same instant; the next attempt finds it
)


def prepare(connection: Connection[Any], where: str, *, create: bool) -> None:
    """Bring the tables to this version, in one transaction; raises VaultMissing or VaultUnreadable."""
    found = version(connection)
    if found is None and not create:
        raise no_vault(where)
    if found is not None and found > SCHEMA_VERSION:
        raise VaultUnreadable(f"the vault in {where} was written by a later valetkey", fix="use the newest valetkey")
    if found != SCHEMA_VERSION:
        _encoding(connection, where)
        _make_meta(connection)
        _migrate(connection)


def version(connection: Connection[Any]) -> int | None:
    """Return the version of the tables that are there, or None where there are none."""
    from psycopg import errors

    try:
        row = connection.execute("SELECT version FROM valetkey_meta WHERE one = 1").fetchone()
    except errors.UndefinedTable:
        return None
    return None if row is None else int(row[0])


def _encoding(connection: Connection[Any], where: str) -> None:
    row = connection.execute("SHOW server_encoding").fetchone()
    if row is not None and row[0] not in {"UTF8", "SQL_ASCII"}:
        raise VaultUnreadable(
            f"the database {where} is encoded in {row[0]}, which cannot hold every name",
            fix="create one with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        )


def _make_meta(connection: Connection[Any]) -> None:
    from psycopg import errors

    for attempt in range(_ATTEMPTS):
        try:
            for statement in _META:
                connection.execute(statement)
        except (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def _migrate(connection: Connection[Any]) -> None:
    with connection.transaction():
        row = connection.execute("SELECT version FROM valetkey_meta WHERE one = 1 FOR UPDATE").fetchone()
        found = int(row[0]) if row is not None else 0
        for statements in MIGRATIONS[found:]:
            for statement in statements:
                connection.execute(statement)
        if found < SCHEMA_VERSION:
            connection.execute("UPDATE valetkey_meta SET version = %s WHERE one = 1", (SCHEMA_VERSION,))
