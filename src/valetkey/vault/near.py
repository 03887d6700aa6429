"""What is told of an app or a connection that is not there: which vault was asked, and names like it in there.

Names stand in the clear, and are no secret. What may not be here: opening records.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from valetkey.errors import NotFound, StoreUnavailable
from valetkey.vault import names
from valetkey.vault.stores.base import Store

LOOKED_AT: Final = 500
"""Most names that are compared with one: a page of the store, and a few hundredths of a second."""

SHOWN: Final = 2

_ELSEWHERE: Final = "--vault or VALETKEY_VAULT names another vault"


@dataclass(frozen=True, slots=True)
class Near:
    """Know the names in a store; without one, none. `place` is where it is, as it may be shown.

    Where the store cannot be asked nothing is told: the error that is being made says more than that.
    """

    store: Store | None = None
    place: str = ""

    def like(self, record: str) -> Sequence[str]:
        """Return names like that of a record, among records of its kind; of connections, in the same app first."""
        kind = record[: record.index("/") + 1]
        folder = record[: record.rindex("/") + 1]
        label = record.removeprefix(folder)
        beside = [name.removeprefix(folder) for name in self._names(folder)]
        if beside:  # compared without what they have in common, which makes all of them alike
            return [f"{folder.removeprefix(kind)}{name}" for name in _like(label, beside)]
        # No such app, or no connection of it: then one of the same label, in an app that is called alike.
        same = [name.removeprefix(kind) for name in self._names(kind) if name.endswith(f"/{label}")]
        return _like(record.removeprefix(kind), same)

    def no_app(self, name: str) -> NotFound:
        """Return the error for an app that is not there."""
        fix = f"`{_adding(name)}` makes it"
        if self._has(names.APPS):
            fix = f"{_meant(self.like(names.APPS + name))}`valetkey app list` shows them; {fix}"
        else:
            fix = f"{fix}; {_ELSEWHERE}"
        return NotFound(f"there is no app called {name}", cause=self._looked(names.APPS, "apps"), fix=fix)

    def no_connection(self, name: str) -> NotFound:
        """Return the error for a connection that is not there, or that could not be because its app is not."""
        record, app = names.CONNECTIONS + name, name.partition("/")[0]
        message, connecting = f"there is no connection called {name}", f"`valetkey connect {name}`"
        meant = _meant(self.like(record))
        if self.store is not None and not self._has_app(app):
            adding = f"`{_adding(app)}` adds the app, then {connecting}"
            if not self._has(names.APPS):
                return NotFound(message, cause=self._looked(names.APPS, "apps"), fix=f"{meant}{adding}; {_ELSEWHERE}")
            meant = meant or _meant(self.like(names.APPS + app), "the app ")
            fix = f"{meant}`valetkey connection list` and `valetkey app list` show what there is; {adding}"
            return NotFound(message, cause=f"there is no app called {app} in {self._where}", fix=fix)
        if self.store is not None and not self._has(f"{names.CONNECTIONS}{app}/"):
            where = f"{self._where} has no connections of {app} yet"
            return NotFound(message, cause=where, fix=f"{meant}{connecting} makes it")
        listed = f"{meant}`valetkey connection list` shows those there are; {connecting} makes this one"
        return NotFound(message, cause=self._looked(names.CONNECTIONS, "connections"), fix=listed)

    @property
    def _where(self) -> str:
        return f"the vault {self.place}" if self.place else "this vault"

    def _looked(self, kind: str, what: str) -> str:
        if self.store is None:
            return ""
        return f"looked for in {self._where}" if self._has(kind) else f"{self._where} has no {what} yet"

    def _has(self, prefix: str) -> bool:
        with suppress(StoreUnavailable):
            return self.store is not None and bool(self.store.names(prefix, "", 1))
        return True  # nobody knows, and so nobody says that there are none

    def _has_app(self, name: str) -> bool:
        with suppress(StoreUnavailable):
            return self.store is not None and self.store.load(names.APPS + name) is not None
        return True

    def _names(self, prefix: str, limit: int = LOOKED_AT) -> Sequence[str]:
        with suppress(StoreUnavailable):
            return self.store.names(prefix, "", limit) if self.store is not None else ()
        return ()


def _meant(found: Sequence[str], kind: str = "") -> str:
    """Return the question that begins a fix, or nothing."""
    return f"did you mean {kind}{' or '.join(found)}? " if found else ""


def _adding(name: str) -> str:
    from valetkey.providers import keys  # late: only who has no such app needs it

    return f"valetkey app add {name}" + ("" if name in keys() else " PROVIDER")


def _like(word: str, known: Sequence[str]) -> Sequence[str]:
    from difflib import get_close_matches  # late: only who mistypes needs it

    return get_close_matches(word, known, n=SHOWN)
