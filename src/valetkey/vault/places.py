"""Where a vault is: a file, or a database named by a URL; and where its key and its spilled tokens then are.

A file has both beside it. A database has no beside: its key lies in the user's data folder, named by the vault's own id
and not by the database's address, which changes with a failover or a pooler; spilled tokens lie in the state folder.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from valetkey.errors import InvalidInput, VaultUnreadable
from valetkey.values import shown_path
from valetkey.vault.private import expanded
from valetkey.vault.quick import data_folder, key_beside, places
from valetkey.vault.stores.base import Store
from valetkey.vault.stores.postgres_words import SCHEMES, holds_password
from valetkey.vault.stores.sqlite import SqliteStore

KV_SCHEME: Final = "vault+kv://"
FILE_SCHEMES: Final = ("sqlite:///", "sqlite:")


@dataclass(frozen=True)
class Place:
    """Be where a vault is. Exactly one of `path` and `url` is there; the URL may hold a password and is not shown."""

    path: Path | None = None
    url: str = field(default="", repr=False)

    @classmethod
    def of(cls, given: str | Path | None = None) -> Place:
        """Read a path or a URL (default: VALETKEY_VAULT, else the user's data folder); raises InvalidInput."""
        text = places()[0] if given is None else given
        if isinstance(text, Path):
            if str(text).startswith(tuple(scheme.removesuffix("/") for scheme in SCHEMES)):
                raise InvalidInput("a database's URL was given as a path", fix="give it as text")
            return cls(path=_whole(text))
        if not text:
            raise InvalidInput("the vault's place is an empty text", fix="name one, or leave it out for the usual one")
        if text.startswith(SCHEMES):
            return cls(url=text)
        if text.startswith(KV_SCHEME):
            return cls(url=text)
        if text.startswith("aws-sm:"):
            raise InvalidInput(
                "a vault cannot be kept in AWS Secrets Manager",
                cause="a secret written more often than every ten minutes runs out of versions, and a refresh that "
                "cannot be saved costs a person's consent",
                fix="keep the vault in a file or PostgreSQL, its key-encryption key in AWS KMS, and client secrets in "
                "Secrets Manager, by reference (docs/managers.md)",
            )
        for scheme in FILE_SCHEMES:
            text = text.removeprefix(scheme)
        if "://" in text:
            raise InvalidInput(
                f"no vault is kept at {text.partition('://')[0][:40]!r} URLs",
                fix="name a file, a database as postgresql://user@host/database, or a KV engine as vault+kv://MOUNT/FOLDER",
            )
        return cls(path=_whole(text))

    @property
    def shown(self) -> str:
        """Return the place as it may be shown."""
        if self.path is not None:
            return shown_path(str(self.path))
        if self.url.startswith(KV_SCHEME):
            return self.url
        from valetkey.vault.stores.postgres import import_psycopg
        from valetkey.vault.stores.postgres_words import Address

        import_psycopg()
        return f"postgresql://{Address(self.url).where}"

    def open(self, *, create: bool) -> Store:
        """Open the store that is there; raises VaultMissing, VaultUnreadable, StoreUnavailable or InvalidInput."""
        if self.path is not None:
            return SqliteStore.open(self.path, create=create)
        if self.url.startswith(KV_SCHEME):
            from valetkey.vault.stores.hashicorp import HashiCorpStore  # late, as below

            return HashiCorpStore.open(self.url, create=create)
        from valetkey.vault.stores.postgres import PostgresStore  # late: the driver is an extra, and costs to import

        return PostgresStore.open(self.url, create=create)

    def key_path(self, vault_id: bytes) -> Path:
        """Return where the key is when nobody names it: VALETKEY_KEY_FILE, else beside the file or by the id."""
        if self.path is not None:
            return Path(key_beside(str(self.path)))
        named = os.environ.get("VALETKEY_KEY_FILE")
        return expanded(named) if named else Path(data_folder(), "valetkey", "keys", f"{vault_id.hex()}.key")

    def spill_path(self, vault_id: bytes) -> Path:
        """Return the folder where tokens wait while the store is down."""
        if self.path is not None:
            return self.path.with_suffix(".spill")
        return Path(_state_folder(), "valetkey", f"{vault_id.hex()}.spill")


def _whole(path: str | Path) -> Path:
    """Return a path from the root on: so it is shown, and so it means the same when the program changes its folder."""
    found = expanded(path)
    try:
        return found.absolute()
    except OSError:  # the current folder was removed
        return found


def spoken(url: str) -> str:
    """Return a place given on a command line; raises InvalidInput where it carries a password for all to see."""
    if holds_password(url):
        raise InvalidInput(
            "a password in a command's arguments can be seen by everybody on this machine",
            fix="put it into ~/.pgpass (PGPASSFILE) or PGPASSWORD, or the whole URL into VALETKEY_VAULT",
        )
    return url


def refuse_unused(state: str, where: str) -> None:
    """Refuse a vault that is a backup, half a copy, or the old end of a move; `state` is its keyring's."""
    if state in _NOT_IN_USE:
        what, cause, fix = _NOT_IN_USE[state]
        raise VaultUnreadable(
            f"{where} {what}",
            code="vault_not_in_use",
            cause=cause,
            fix=fix.format(where=shlex.quote(where)),
            state=state,
        )


USED: Final = "keyring"
BACKUP: Final = "backup"
COPYING: Final = "copying"
MOVING: Final = "moving"
MOVED: Final = "moved"
"""States of the keyring's record: in use, or one of four in which a vault must not be used."""

_TWO: Final = "two vaults that renew the same refresh tokens end the grants of every provider that punishes reuse"

_NOT_IN_USE: Final = {
    BACKUP: ("is a backup, not a vault in use", _TWO, "`valetkey vault restore {where}`"),
    COPYING: ("is a copy that was not finished", "copying ended half way", "give the same `valetkey vault copy` again"),
    MOVING: (
        "is being moved to another place",
        _TWO,
        "give the same `valetkey vault copy` again to finish; `valetkey vault reopen --force` to call it off",
    ),
    MOVED: (
        "was moved to another place, and is kept only in case",
        _TWO,
        "open the new place; `valetkey vault reopen --force` uses this one again, if the new one was never used",
    ),
}


def _state_folder() -> str:
    if sys.platform in {"win32", "darwin"}:
        return data_folder()
    return os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111  # as quick.py does
