"""The tables of the SQLite store, and how they came to be. What may not be here: statements on records."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x76_6B_65_79
"""`vkey` in the file's header (PRAGMA application_id), so that another program's file is not taken for a vault."""

SCHEMA: Final = (
    """CREATE TABLE records (
         name TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, due_at INTEGER,
         box BLOB NOT NULL
       ) STRICT""",
    "CREATE INDEX records_due ON records (due_at, name) WHERE due_at IS NOT NULL",
    "CREATE INDEX records_state ON records (name, state)",
    # The highest version of all that was forgotten: a record made anew begins above it, whatever clocks say.
    "CREATE TABLE forgotten (version INTEGER NOT NULL) STRICT",
    "INSERT INTO forgotten VALUES (0)",
    """CREATE TRIGGER records_forgotten AFTER DELETE ON records BEGIN
         UPDATE forgotten SET version = max(version, OLD.version);
       END""",
    """CREATE TABLE audit (
         id INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
         outcome TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL
       ) STRICT""",
)

_COLUMNS: Final = (
    ("request", "TEXT NOT NULL DEFAULT ''"),
    ("fingerprint", "TEXT NOT NULL DEFAULT ''"),
    ("writer", "TEXT NOT NULL DEFAULT ''"),
    ("number", "INTEGER NOT NULL DEFAULT 0"),
    ("hash", "BLOB NOT NULL DEFAULT x''"),
    ("signature", "BLOB NOT NULL DEFAULT x''"),
)

MIGRATIONS: Final = (
    (
        *(f"ALTER TABLE audit ADD COLUMN {name} {kind}" for name, kind in _COLUMNS),
        """CREATE TABLE audit_heads (
             writer TEXT PRIMARY KEY NOT NULL, ordinal INTEGER NOT NULL, number INTEGER NOT NULL, box BLOB NOT NULL,
             floor BLOB NOT NULL
           ) STRICT""",
        "CREATE UNIQUE INDEX audit_chain ON audit (writer, number) WHERE number > 0",
        "CREATE INDEX audit_writers ON audit (writer)",
        "CREATE INDEX audit_subject ON audit (subject, id)",
        "CREATE INDEX audit_kind ON audit (kind, id)",
        "CREATE INDEX audit_request ON audit (request, id) WHERE request <> ''",
        "CREATE INDEX audit_fingerprint ON audit (fingerprint, id) WHERE fingerprint <> ''",
    ),
    ("CREATE INDEX audit_outside ON audit (id) WHERE number < 1",),
)
"""What leads from each version of the tables to the next; only ever added to."""

SCHEMA_VERSION: Final = 1 + len(MIGRATIONS)
