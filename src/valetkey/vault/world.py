"""The vault's world: what answers the questions of its plans for real."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from valetkey.audit.recorder import Recorder
from valetkey.effects import Effect, Load, Luck, Note, Now, Resolve, Resolved, Send, Sleep, Spill, Spilled, Swap, Want
from valetkey.errors import StoreUnavailable
from valetkey.managers.reference import Reference
from valetkey.values import Entry, Request, Response
from valetkey.vault.livekeys import LiveKeys
from valetkey.vault.spill import SpillFolder
from valetkey.vault.stores.base import Store
from valetkey.vault.stores.closed import ClosedStore, closed


class Sender(Protocol):
    """Send a request; transport/sync.py does."""

    def send(self, request: Request) -> Response:
        """Send it; raises Weather."""


class References(Protocol):
    """Find the secret behind a reference; managers/resolver.py does."""

    def resolve(self, text: str, want: Want = "remembered") -> Resolved:
        """Find it; raises ManagerRefused, ManagerUnavailable, InvalidInput."""

    def write(self, target: Reference, fields: Mapping[str, str], text: str) -> None:
        """Write a token where programs read it; raises the same."""

    def close(self) -> None:
        """Let go of connections."""


class VaultWorld:
    """Answer the questions of plans from a store, a transport, the system's clock and its randomness."""

    def __init__(  # one argument for each thing of the world
        self,
        *,
        store: Store,
        transport: Callable[[], Sender],
        audit: Recorder,
        spills: SpillFolder | None = None,
        keys: LiveKeys | None = None,
        references: Callable[[], References] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        made: str = "",
    ) -> None:
        self.store: Store = store
        self.made = made
        self.clock = clock
        self._transport = transport
        self._spills = spills
        self.keys = keys
        self._make_references = references or _resolver
        self._references: References | None = None
        self._making, self._closing = threading.Lock(), threading.Lock()
        self._audit: Final = audit
        self._answers: Final[dict[type[Any], Callable[[Any], Any]]] = {
            Load: lambda q: self.store.load(q.name),
            Swap: lambda q: self.store.swap(q.name, q.seen, q.entry),
            Now: lambda _: clock(),
            Luck: lambda q: os.urandom(q.size),
            Sleep: lambda q: time.sleep(q.seconds),
            Note: lambda q: audit.note(q.event),
            Send: lambda q: self._transport().send(q.request),
            Spill: self._spill,
            Spilled: lambda q: None if spills is None else self._known(spills.get(q.name)),
            Resolve: lambda q: self.references.resolve(q.reference, q.want),
        }

    def answer(self, question: Effect, /) -> Any:
        """Answer one question."""
        return self._answers[type(question)](question)

    @property
    def audit(self) -> Recorder:
        """Return the writer of the audit log; raises VaultClosed."""
        if isinstance(self.store, ClosedStore):
            raise closed()
        return self._audit

    @property
    def references(self) -> References:
        """Return who finds secrets by reference; made at the first question."""
        with self._making:
            if self._references is None:
                self._references = self._make_references()
            return self._references

    def close(self) -> None:
        """Write what waits for the audit log, let go of the store and of secret managers; a second time do nothing."""
        with self._closing:
            if isinstance(self.store, ClosedStore):
                return
            self._audit.close()
            if self._references is not None:
                self._references.close()
            self.store.close()
            self.store = ClosedStore(self.store)

    def spilled(self) -> Iterator[tuple[str, Entry]]:
        """Give what waits outside the store."""
        waiting = iter(()) if self._spills is None else self._spills.all()
        return ((name, entry) for name, entry in waiting if self._known(entry) is not None)

    def reserve(self) -> None:
        """Keep room beside the store for an answer that the store may not take; before a refresh token is spent."""
        if self._spills is not None:
            self._spills.reserve()

    def unspill(self, record: str) -> None:
        """Forget what waited for a record."""
        if self._spills is not None:
            self._spills.drop(record)

    def _known(self, entry: Entry | None) -> Entry | None:
        """Return what was spilled, its key known; None where it is of keys that this process cannot have."""
        try:
            return entry if self.keys is None else self.keys.known(entry)
        except StoreUnavailable:
            return None

    def _spill(self, question: Spill) -> None:
        if self._spills is not None:
            self._spills.put(question.name, question.entry)


def _resolver() -> References:
    from valetkey.managers.resolver import Resolver  # late: few vaults name secrets by reference

    return Resolver()
