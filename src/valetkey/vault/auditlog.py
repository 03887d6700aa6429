"""The audit log's face for programs: `vault.audit`. It looks, and never writes a line that was not asked for.

What may not be here: what a chain is (audit/).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from valetkey.audit import pruning
from valetkey.audit.exporting import exported
from valetkey.audit.files import compared, examine_file, heads_of
from valetkey.audit.following import POLL_SECONDS, Window
from valetkey.audit.ledger import Query
from valetkey.audit.line import Line
from valetkey.audit.pruning import Cut, Pruned, planned, retirable
from valetkey.audit.report import Chain, Report
from valetkey.audit.verifying import examine
from valetkey.effects import Event
from valetkey.errors import AlreadyExists, InvalidInput
from valetkey.vault.auditing import Keyholder
from valetkey.vault.backup import draft_of
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

    def public_key(self) -> str:
        """Return what proves exports without the vault, in hexadecimal; empty before the first line was written."""
        key = self._holder.known().key
        return "" if key is None else key.public.hex()

    def records(self) -> tuple[Report, Iterator[bytes]]:
        """Return what holds, and an export of the log line by line, signed only if all of it holds.

        Iterating raises StoreUnavailable where the log was pruned meanwhile.
        """
        report = self.examine()
        key = self._holder.known().key
        if key is None:
            raise InvalidInput("there is no chained audit log to export yet", fix="use the vault, and export then")
        return report, exported(self._world.store.ledger, key, report, self._world.clock())

    def export(self, file: str | Path) -> Report:
        """Write an export to a new file, mode 0600; raises AlreadyExists, StoreUnavailable. docs/audit.md."""
        file = Path(file)
        if os.path.exists(file):  # noqa: PTH110  # which is False, and no error, for what can be no name
            raise AlreadyExists(f"{file} is there already", fix="name a new file; nothing was changed")
        report, records = self.records()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with draft_of(file) as draft, os.fdopen(os.open(draft, flags, 0o600), "wb") as written:
            written.writelines(records)
        return report

    def examine_file(self, records: Iterable[bytes]) -> Report:
        """Return what holds of an export of this vault's log, line by line; raises InvalidInput for another's."""
        key = self._holder.known().key
        if key is None:
            raise InvalidInput("this vault has no key of an audit log", fix="use --public-key, or name another vault")
        return examine_file(records, key=key)

    def examine_against(self, file: str | Path) -> Report:
        """Return what holds of the log, and whether every writer goes on from where it stood in an export.

        This shows what cannot be seen from inside: that the database was put back to an older copy of itself.
        Raises AuditBroken for an export that does not hold, InvalidInput for another vault's.
        """
        with Path(file).open("rb") as records:
            self.examine_file(records).proven()
        report, key = self.examine(), self._holder.known().key
        if key is None or any(one.reason.startswith("roster_") for one in report.findings):
            return report
        with Path(file).open("rb") as records:
            found = compared(self._world.store.ledger, key, heads_of(records, key))
        ordered = sorted([*report.findings, *found], key=lambda one: (one.ordinal, one.number))
        return replace(report, findings=tuple(ordered))

    def prune(self, before: datetime, *, dry_run: bool = False) -> Pruned:
        """Delete the lines from before a moment, so that what is left stays proven, and return how many those were.

        The whole log is proven first; raises AuditBroken, and then nothing is deleted. Lines before and after say so.
        Lines are deleted up to one with a signature, so the last few of a writer may stay a little longer.
        """
        self.verify()
        key, ledger, audit = self._holder.known().key, self._world.store.ledger, self._world.audit
        if key is None:
            return Pruned()
        plan = list(planned(ledger, key, before))
        old = [line for line in ledger.unchained(None, 1000) if line.at < before]
        if dry_run:
            return Pruned(sum(cut.lines for cut in plan), sum(_goes(cut) for cut in plan), len(old))
        if not (plan or old or retirable(ledger, key)):
            return Pruned()
        said = {"before": before.isoformat(timespec="milliseconds")}
        audit.note(Event("audit.prune_started", "audit", "unknown", detail=said))
        lines = pruning.cut(ledger, key, plan)
        done = Pruned(lines, pruning.retire(ledger, key), pruning.cut_unchained(ledger, before))
        counts = {name: str(count) for name, count in done.to_dict().items()}
        audit.note(Event("audit.pruned", "audit", detail={**said, **counts}))
        return done

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._world.store!r}>"


def _goes(cut: Cut) -> bool:
    """Say whether nothing of a writer is left."""
    return cut.floors[-1].number == cut.head.number


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

    async def export(self, file: str | Path) -> Report:
        """Write an export to a new file; see Audit.export."""
        return await self._aside(lambda: self.sync.export(file))

    async def examine_against(self, file: str | Path) -> Report:
        """Return what holds, and whether the log goes on from an export; see Audit.examine_against."""
        return await self._aside(lambda: self.sync.examine_against(file))

    async def prune(self, before: datetime, *, dry_run: bool = False) -> Pruned:
        """Delete the lines from before a moment; see Audit.prune."""
        return await self._aside(lambda: self.sync.prune(before, dry_run=dry_run))

    async def verify(self) -> Report:
        """Prove the whole log; see Audit.verify."""
        return await self._aside(self.sync.verify)

    async def examine(self) -> Report:
        """Return what holds and every place that does not; see Audit.examine."""
        return await self._aside(self.sync.examine)
