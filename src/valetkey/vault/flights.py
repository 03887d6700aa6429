"""Work that must outlive its caller: one thread for each piece, shared by all who want its result.

A refresh that dies between the provider's answer and the save loses the grant. A thread that is no daemon survives a
caller that is cancelled, times out or is interrupted, and the interpreter waits for it at exit. It survives the end
of an event loop too, which an asyncio task does not: `asyncio.run` cancels every task that is left, shielded or not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

from valetkey.vault.stores.closed import closed

T = TypeVar("T")


class Flights:
    """Run each key's work once at a time; callers of the same key share the result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[Hashable, Future[Any]] = {}
        self._pid = os.getpid()
        self._ended = False

    def join(self, key: Hashable, work: Callable[[], T]) -> Future[T]:
        """Return the result to come of the work under way for `key`, or start it; raises VaultClosed after the end."""
        self._after_fork()
        with self._lock:
            if self._ended:
                raise closed()
            flying = self._flying.get(key)
            if flying is None:
                flying = Future()
                flying.set_running_or_notify_cancel()  # from here on nobody can cancel it
                # In the caller's context: the audit log says on whose behalf this is done.
                flown = (self._fly, key, work, flying)
                thread = threading.Thread(target=copy_context().run, args=flown, name="valetkey", daemon=False)
                self._flying[key] = flying
                try:
                    thread.start()
                except BaseException:  # no more threads, or the interpreter is ending: this one would never land
                    del self._flying[key]
                    raise
            return flying

    def _after_fork(self) -> None:
        """Forget what flew in the parent: threads do not cross a fork, so it never lands; the lock may stay shut."""
        if self._pid != os.getpid():
            self._lock, self._flying, self._pid = threading.Lock(), {}, os.getpid()

    def _fly(self, key: Hashable, work: Callable[[], T], landed: Future[T]) -> None:
        try:
            result = work()
        except BaseException as refusal:  # noqa: BLE001  # it is the callers' to raise, in their threads
            self._forget(key)
            landed.set_exception(refusal)
        else:
            self._forget(key)
            landed.set_result(result)

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._flying.pop(key, None)

    def wait(self) -> None:
        """Wait until nothing flies."""
        self._after_fork()
        with self._lock:
            flying = list(self._flying.values())
        for landed in flying:
            landed.exception()

    def end(self) -> None:
        """Wait until nothing flies, and let nothing start any more: what is spent there must still be saved."""
        self.wait()  # what is under way may need flights of its own
        with self._lock:
            self._ended = True
        self.wait()
