"""A store in memory: for tests, the simulation, and trying things out."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime

from valetkey.audit.memory import MemoryLedger
from valetkey.values import Entry


class MemoryStore:
    """Keep records in a dict; what is here is gone with the process."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self.ledger = MemoryLedger()
        self._last_version = 0
        self._lock = threading.Lock()

    def load(self, name: str) -> Entry | None:
        """Return a record as it is now."""
        return self._entries.get(name)

    def swap(self, name: str, seen: int, entry: Entry | None) -> bool:
        """Compare and set."""
        with self._lock:
            held = self._entries.get(name)
            if (held.version if held else 0) != seen:
                return False
            if entry is None:
                return self._entries.pop(name, None) is not None
            version = seen + 1 if seen else self._last_version + 1
            self._last_version = max(self._last_version, version)
            self._entries[name] = replace(entry, version=version)
            return True

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return names in order."""
        return sorted(name for name in list(self._entries) if name.startswith(prefix) and name > after)[:limit]

    def due(self, prefix: str, before: datetime, limit: int) -> list[str]:
        """Return what is due, the longest due first."""
        found = [(entry.due_at, name) for name, entry in list(self._entries.items()) if entry.due_at is not None]
        return [name for due_at, name in sorted(found) if due_at <= before and name.startswith(prefix)][:limit]

    def count(self, prefix: str) -> dict[str, int]:
        """Return how many records there are by state."""
        return dict(Counter(entry.state for name, entry in list(self._entries.items()) if name.startswith(prefix)))

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""
