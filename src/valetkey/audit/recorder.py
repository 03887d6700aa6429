"""The writer of the audit log: one for each opening of a vault, shared by its threads.

`note` is durable when it returns. `tell` and `count` are for what happens often and changes nothing: it is committed
together, within LINGER_SECONDS. Whoever commits takes along what the others wait for, so a hundred threads that note
something at once share a few commits. What may not be here: SQL, and what the events mean (kinds.py).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Final, Protocol

from valetkey.audit.chain import ChainKey
from valetkey.audit.ledger import Ledger
from valetkey.audit.line import Line
from valetkey.audit.tally import Tallies
from valetkey.audit.who import WHO, Who
from valetkey.audit.writer import Writer
from valetkey.effects import Event
from valetkey.errors import StoreUnavailable, ValetkeyError

LINGER_SECONDS: Final = 1.0
"""How long an event that was told may wait for others to be committed with it: what a crash can lose."""

BATCH: Final = 1000
"""Events of one commit at most; as soon as so many wait, nobody lingers."""

QUEUE_MOST: Final = 10_000
"""Events that wait at most. A store that is down must not eat the memory of the program: what is more is counted."""

IDLE_ROUNDS: Final = 30

log: Final = logging.getLogger("valetkey.audit")


class _Waiting:
    """Be an event that waits to be committed; `error` says why it was not."""

    __slots__ = ("done", "durable", "error", "line")

    def __init__(self, line: Line, *, durable: bool) -> None:
        self.line = line
        self.durable = durable
        self.done = False
        self.error: ValetkeyError | None = None


class Late(Protocol):
    """Hold events that wait elsewhere, to be written with the next commit; vault/taken.py does."""

    def take(self, moment: datetime) -> list[Line]:
        """Return what waits, the same lines again until they are done with; raises nothing."""

    def done(self) -> None:
        """Forget what was taken: it is in the log."""

    def forget(self) -> None:
        """Leave what was taken to the process that took it."""


class Recorder:
    """Write events to a ledger, chained. `key` gives the key of the chains when the first is written."""

    def __init__(
        self, ledger: Ledger, key: Callable[[], ChainKey], *, clock: Callable[[], datetime], actor: str
    ) -> None:
        self.actor = actor
        self._clock = clock
        self._writer = Writer(ledger, key, self._say)
        self._late: Late | None = None
        self._reset()
        _LIVING.add(self)

    def _reset(self) -> None:
        """Begin with nothing, in a new process too: what waited in the parent is the parent's to write."""
        self._queue: deque[_Waiting] = deque()
        self._mutex, self._turn = threading.Lock(), threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = 0
        self._tallies = Tallies(self._repeated)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, event: Event) -> None:
        """Write an event durably; raises StoreUnavailable, and then what the event announces must not be done."""
        waiting = _Waiting(self._line(event), durable=True)
        with self._mutex:
            self._queue.append(waiting)
        while not waiting.done:
            with self._turn:
                if not waiting.done:
                    self._commit()
        if waiting.error is not None:
            raise waiting.error.with_traceback(None)

    def tell(self, event: Event) -> None:
        """Write an event soon; never waits, never fails. What finds no place is counted, and the count is written."""
        waiting = _Waiting(self._line(event), durable=False)
        with self._mutex:
            if len(self._queue) >= QUEUE_MOST:
                self._lost += 1
                return
            self._queue.append(waiting)
            waits = len(self._queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="valetkey-audit", daemon=True)
                self._thread.start()
        if waits >= BATCH:
            self._wake.set()

    def count(self, event: Event) -> Callable[[], object]:
        """Tell of an event, or count it where the same was told within the last minute.

        Returns what counts it once more: nanoseconds, for a second or so. What has a request's id is told each time.
        """
        who = WHO.get()
        if who is not None and who.request:
            self.tell(event)
            return lambda: self.tell(event)
        key = (who, event.kind, event.subject, event.outcome, event.reason, *event.detail.items())
        tally = self._tallies.find(key)
        if tally is None:
            tally = self._tallies.begin(key)
            self.tell(event)
        return tally.use

    def flush(self) -> bool:
        """Write all that waits, now; say whether it could be."""
        with self._turn:
            self._tallies.all()
            return self._commit() and self._drained()

    def close(self) -> None:
        """Write all that waits; what cannot be written is said in the log of the program."""
        if not self._queue and not len(self._tallies) and not self._lost:
            return
        if not self.flush():
            log.warning("%d events could not be written to the audit log and are lost", len(self._queue) + self._lost)
            with self._mutex:
                self._queue.clear()
        self._wake.set()

    @property
    def writer(self) -> str:
        """Return the id of the chain that is being written, empty before the first line."""
        return self._writer.name

    def mirror(self, to: Callable[[list[Line], ChainKey], None]) -> None:
        """Tell of every line that was committed; `to` may not fail and may not wait for long."""
        self._writer.mirrors.append(to)

    def also(self, late: Late) -> None:
        """Write with each commit what waits elsewhere."""
        self._late = late

    # ── committing ────────────────────────────────────────────────────────────────────────────────────────────

    def _line(self, event: Event, who: Who | None = None) -> Line:
        who = who or WHO.get()
        actor = who.actor if who is not None and who.actor else self.actor
        return Line.of(event, self._clock(), actor, "" if who is None else who.request)

    def _say(self, kind: str, **detail: str) -> Line:
        """Make a line of the log's own."""
        return self._line(Event(kind, "audit", detail=detail))

    def _repeated(self, key: Hashable, count: int, seconds: float) -> None:
        assert isinstance(key, tuple)
        who, kind, subject, outcome, reason, *detail = key
        counted = {**dict(detail), "count": str(count), "seconds": f"{seconds:.0f}"}
        token = WHO.set(who)
        try:
            self.tell(Event(kind, subject, outcome, reason, counted))
        finally:
            WHO.reset(token)

    def _drained(self) -> bool:
        """Commit until nothing waits; the turn is held."""
        while self._queue or self._lost:
            if not self._commit():
                return False
        return True

    def _commit(self) -> bool:
        """Commit what waits, as one; the turn is held."""
        with self._mutex:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            lost, self._lost = self._lost, 0
        first = self._late.take(self._clock()) if self._late is not None else []
        if lost:
            first = [*first, self._line(Event("audit.lost", "audit", "failed", "queue_full", {"count": str(lost)}))]
        try:
            self._writer.append(first + [waiting.line for waiting in batch])
        except ValetkeyError as refusal:
            self._failed(batch, lost, refusal)
            return False
        except BaseException:  # a defect, or Ctrl-C: whoever waits must not wait for ever
            self._failed(batch, lost, StoreUnavailable("writing the audit log was interrupted"))
            raise
        for waiting in batch:
            waiting.done = True
        if self._late is not None:
            self._late.done()
        return True

    def _failed(self, batch: list[_Waiting], lost: int, refusal: ValetkeyError) -> None:
        kept = [waiting for waiting in batch if not waiting.durable]
        with self._mutex:
            self._lost += lost
            self._queue.extendleft(reversed(kept))
        for waiting in batch:
            if waiting.durable:
                waiting.error, waiting.done = refusal, True

    # ── the thread ────────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        """Commit what was told, in rounds; end when there was nothing to do for a while."""
        idle = 0
        while idle < IDLE_ROUNDS:
            self._wake.wait(LINGER_SECONDS)
            self._wake.clear()
            self._tallies.due()
            if self._queue or self._lost:
                with self._turn:
                    self._commit()
            idle = 0 if self._queue or len(self._tallies) else idle + 1
        with self._mutex:
            self._thread = None
        if self._queue:  # told in the moment between: the next who tells starts another, and here it is not left alone
            self.flush()

    def forked(self) -> None:
        """Be a new writer: chains, queues, threads and locks of the parent are the parent's."""
        self._reset()
        self._writer.forget()
        if self._late is not None:
            self._late.forget()

    def __repr__(self) -> str:
        return f"<Recorder {self.actor} {self.writer or 'without a line'}>"


_LIVING: Final[weakref.WeakSet[Recorder]] = weakref.WeakSet()


def _forked() -> None:
    for recorder in list(_LIVING):
        recorder.forked()


def _ended() -> None:
    for recorder in list(_LIVING):
        recorder.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
atexit.register(_ended)
