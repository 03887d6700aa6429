"""The audit log's face for programs: `vault.audit`. It looks, and never writes a line that was not asked for.

What may not be here: what a chain is (audit/).
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from valetkey.audit.following import POLL_SECONDS, Window
from valetkey.audit.ledger import Query
from valetkey.audit.line import Line
from valetkey.audit.report import Chain, Report
from valetkey.audit.verifying import examine
from valetkey.vault.auditing import Keyholder
from valetkey.vault.world import VaultWorld

T = TypeVar("T")


class Audit:
    """Look at the audit log of a vault and prove it. Given by `Vault.audit`."""

    def __init__(self, world: VaultWorld) -> None:
        assert world.keys is not None  # whoever opens a vault by its key has them (opening.py)
        self._world = world
        self._holder = Keyholder(world.store, world.keys.sealer, world.keys.vault_id)

    def search(self, query: Query, limit: int = 1000) -> list[Line]:
        """Return up to `limit` lines, oldest first: the newest that match, or the oldest where the query says so."""
        self._world.audit.flush()
        return self._world.store.ledger.find(query, limit)

    def follow(
        self, shown: Sequence[Line] = (), *, stop: threading.Event | None = None, every: float = POLL_SECONDS
    ) -> Iterator[Line]:
        """Give each line that is written after those that were `shown`, as it comes; blocks until `stop` is set.

        It looks every so many seconds. In a database with several writers a line can become visible after one with a
        higher id, so it looks back OVERLAP_SECONDS each time.
        """
        stop = stop or threading.Event()
        window = Window(shown)
        while not stop.is_set():
            self._world.audit.flush()
            yield from window.fresh(self._world.store.ledger)
            stop.wait(every)

    def verify(self) -> Report:
        """Prove the whole log, and return what is in it; raises AuditBroken, which names the first broken place."""
        return self.examine().proven()

    def examine(self, progress: Callable[[Chain], object] = lambda _: None) -> Report:
        """Return what holds and every place that does not; `progress` is told of each writer that was looked at."""
        self._world.audit.flush()
        return examine(self._world.store.ledger, self._holder.known(), progress=progress)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._world.store!r}>"


class Aside(Protocol):
    """Do blocking work on a thread of its own."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Return what it came to."""


class AsyncAudit:
    """Look at the audit log of a vault and prove it, for coroutines; see Audit."""

    def __init__(self, sync: Audit, aside: Aside) -> None:
        self.sync = sync
        self._aside = aside

    async def search(self, query: Query, limit: int = 1000) -> list[Line]:
        """Return the lines that match; see Audit.search."""
        return await self._aside(lambda: self.sync.search(query, limit))

    async def verify(self) -> Report:
        """Prove the whole log; see Audit.verify."""
        return await self._aside(self.sync.verify)

    async def examine(self) -> Report:
        """Return what holds and every place that does not; see Audit.examine."""
        return await self._aside(self.sync.examine)
