"""The store of a vault that was closed: whatever is asked of it is refused, so that no token is given after the end.

What may not be here: a store that can be opened again; who wants one opens the vault again.
"""

from __future__ import annotations

from datetime import datetime
from typing import NoReturn

from valetkey.errors import VaultClosed
from valetkey.values import Entry


class ClosedStore:
    """Refuse everything with VaultClosed, but to be closed again."""

    def __init__(self, was: object) -> None:
        self._was = repr(was)

    @property
    def ledger(self) -> NoReturn:
        """Refuse."""
        raise closed()

    def load(self, _name: str) -> Entry | None:
        """Refuse."""
        raise closed()

    def swap(self, _name: str, _seen: int, _entry: Entry | None) -> bool:
        """Refuse."""
        raise closed()

    def names(self, _prefix: str, _after: str, _limit: int) -> list[str]:
        """Refuse."""
        raise closed()

    def due(self, _prefix: str, _before: datetime, _limit: int) -> list[str]:
        """Refuse."""
        raise closed()

    def count(self, _prefix: str) -> dict[str, int]:
        """Refuse."""
        raise closed()

    def close(self) -> None:
        """Do nothing: it is."""

    def __repr__(self) -> str:
        return f"{self._was}, closed"


def closed() -> VaultClosed:
    """Return the error for what is asked of a vault that was closed."""
    return VaultClosed("the vault was closed before this was asked of it")
