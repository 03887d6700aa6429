"""How the PostgreSQL store is addressed, and its errors in our own words.

No text of libpq or of the server is ever repeated: it may quote the connection string, and so a password.
What may not be here: statements.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from valetkey.errors import InvalidInput, StoreUnavailable, VaultError, VaultUnreadable
from valetkey.values import Secret

if TYPE_CHECKING:
    import psycopg

SCHEMES: Final = ("postgresql://", "postgres://")

CONNECT_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 15
"""As long as the SQLite store waits for others: a commit takes milliseconds, only a stuck one takes this long."""

LOCK_SECONDS: Final = 10

DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "valetkey",
    "connect_timeout": CONNECT_SECONDS,
    # With several hosts in the URL, the one that can be written is chosen, after a failover too.
    "target_session_attrs": "read-write",
    # A server that vanished without a word is noticed within about twenty seconds, well inside a lease.
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Settings of libpq that hold unless the URL says otherwise."""


class Address:
    """Be where a database is: what libpq is told, which may hold a password, and what may be shown."""

    def __init__(self, url: str) -> None:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        authority, _, rest = url.partition("?")[0].partition("://")[2].partition("/")
        # Such a character in a password shifts what is taken for host, port or database, and these are shown.
        if authority.count("@") > 1 or "@" in rest:
            raise _cut()
        try:
            given = conninfo_to_dict(url)
            self._conninfo = Secret(make_conninfo(**{**_defaults(), **given}))
        except (ProgrammingError, UnicodeError):
            raise InvalidInput(
                "the database's URL cannot be read",
                fix="write postgresql://user@host:5432/database?sslmode=verify-full",
            ) from None
        if not re.fullmatch(r"[0-9,]*", str(given.get("port") or "")):
            raise _cut()
        host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "local socket"
        port = given.get("port") or os.environ.get("PGPORT") or ""
        user = given.get("user") or os.environ.get("PGUSER") or ""
        database = given.get("dbname") or os.environ.get("PGDATABASE") or user
        self.where = f"{host}{f':{port}' if port else ''}/{database}"

    @property
    def conninfo(self) -> str:
        """Return what libpq is told; never to be shown."""
        return self._conninfo.reveal()

    def __repr__(self) -> str:
        return f"<Address {self.where}>"


def _cut() -> InvalidInput:
    return InvalidInput(
        "the database's URL is cut in the wrong places",
        cause="an @, / or : inside a password is taken for the end of it",
        fix="write them as %40, %2F and %3A, or leave the password to PGPASSFILE",
    )


def _defaults() -> dict[str, Any]:
    """Return the defaults without those that the environment sets, which libpq would let them override."""
    named = {"connect_timeout": "PGCONNECT_TIMEOUT", "target_session_attrs": "PGTARGETSESSIONATTRS"}
    named["application_name"] = "PGAPPNAME"
    return {name: value for name, value in DEFAULTS.items() if not os.environ.get(named.get(name, ""), "")}


def holds_password(url: str) -> bool:
    """Say whether a URL carries a password, which does not belong on a command line."""
    if not url.startswith(SCHEMES):
        return False
    authority, _, query = url.partition("?")
    user = authority.partition("://")[2].rpartition("@")[0]
    return ":" in user or re.search(r"(^|&)password=", query) is not None


_UNREACHED: Final = (
    ("password authentication failed", "it refuses the user or the password", "check PGPASSFILE or PGPASSWORD"),
    ("no password supplied", "it wants a password", "put it into ~/.pgpass (PGPASSFILE), mode 0600"),
    ("pg_hba.conf", "it lets in nobody of this name from here", "let it in with a line of pg_hba.conf"),
    ("could not translate host name", "its host name is not known", "check the host in the URL"),
    ("resolve host", "its host name is not known", "check the host in the URL"),
    ("connection refused", "nobody answers there", "start it, or check host and port"),
    ("no such file or directory", "nobody answers there", "start it, or check host and port"),
    ("timeout", "it does not answer in time", "check the network, and firewalls in between"),
    ("starting up", "it is starting", "try again in a moment"),
    ("shutting down", "it is shutting down", "try again when it is back"),
    ("too many clients", "it has no connection to spare", "raise max_connections, or run fewer processes"),
    ("connection slots", "it has no connection to spare", "raise max_connections, or run fewer processes"),
    ("read-only", "it is a standby that cannot be written", "name the primary, or all hosts, in the URL"),
    ("certificate", "its certificate does not hold", "check sslmode and sslrootcert in the URL"),
    ("ssl", "no TLS could be spoken", "check sslmode in the URL"),
)
"""Words of libpq by which a failure to connect is told apart, what we say, and what to do."""

_GONE: Final = (
    (r'database ".*" does not exist', "there is no such database", "create it: createdb NAME"),
    (r'role ".*" does not exist', "it knows no such user", "create it: createuser NAME"),
)


def unreached(refusal: Exception, where: str) -> VaultError:
    """Return why no connection could be made, in our words."""
    text = str(refusal).lower()
    for pattern, what, fix in _GONE:
        if re.search(pattern, text):
            return VaultUnreadable(f"the database {where} cannot be used: {what}", fix=fix)
    for words, what, fix in _UNREACHED:
        if words in text:
            return StoreUnavailable(f"the database {where} cannot be used now: {what}", fix=fix)
    return StoreUnavailable(
        f"the database {where} cannot be used now: no connection", fix="check the URL with psql, then try again"
    )


_SAID: Final = {
    "VK001": (
        "the vault was moved to another place",
        "open it there; start programs that use it anew",
    ),  # ours: bulk.py
    "53100": ("its disk is full", "free some space; nothing was lost or half-written"),
    "53200": ("it is out of memory", "look at its log"),
    "53300": ("it has no connection to spare", "raise max_connections, or run fewer processes"),
    "55P03": ("another process held a lock too long", "find it in pg_stat_activity, then try again"),
    "57014": ("it took too long", "look for locks and load in pg_stat_activity, then try again"),
    "25006": ("it cannot be written: a standby, or set read-only", "name the primary, or all hosts, in the URL"),
    "40001": ("too many others wanted the same at once", "try again"),
    "40P01": ("too many others wanted the same at once", "try again"),
}
_UNREADABLE: Final = {
    "42501": ("this user may not do that", "grant it SELECT, INSERT, UPDATE, DELETE; for the first start also CREATE"),
    "42P01": ("its tables are not there any more", "restore it from a backup, or name the right database"),
    "3F000": ("there is no schema to put its tables in", "set search_path for this user"),
    "XX001": ("it is damaged", "restore it from a backup"),
    "XX002": ("an index of it is damaged", "REINDEX, or restore it from a backup"),
}


def explained(refusal: psycopg.Error, where: str) -> VaultError:
    """Return an error of a statement in our words; of PostgreSQL's only the five characters of SQLSTATE are kept."""
    state = refusal.sqlstate or ""
    if state in _UNREADABLE:
        what, fix = _UNREADABLE[state]
        return VaultUnreadable(f"the database {where} cannot be used: {what}", fix=fix, sqlstate=state)
    said = f"PostgreSQL says {state}" if state else "the connection broke"
    what, fix = _SAID.get(state, (said, "try again; if it stays so, look at the server's log"))
    return StoreUnavailable(f"the database {where} cannot be used now: {what}", fix=fix, sqlstate=state)
