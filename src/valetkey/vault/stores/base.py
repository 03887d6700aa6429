"""What a store is: a handful of blocking calls, and nothing about what the records mean."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from valetkey.audit.ledger import Ledger
from valetkey.values import Entry


class Store(Protocol):
    """Keep sealed records and the audit log. Blocking on purpose; the async world calls it in a thread.

    All raise StoreUnavailable when the store cannot be read or written now; then nothing was changed.
    """

    @property
    def ledger(self) -> Ledger:
        """Return where the audit log is kept."""

    def load(self, name: str) -> Entry | None:
        """Return a record as it is now."""

    def swap(self, name: str, seen: int, entry: Entry | None) -> bool:
        """Replace version `seen` (0: there must be none) by `entry`, or forget it (None); say whether it was there.

        A replaced record has version `seen + 1`. A created one has a version higher than any that name ever had, so
        that a late answer cannot mistake a new record for the one it knew.
        """

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return up to `limit` names that begin with `prefix` and sort after `after`, in order."""

    def due(self, prefix: str, before: datetime, limit: int) -> list[str]:
        """Return up to `limit` names whose `due_at` is at or before that moment, the longest due first."""

    def count(self, prefix: str) -> dict[str, int]:
        """Return how many records there are by state."""

    def close(self) -> None:
        """Let go of files and connections."""
