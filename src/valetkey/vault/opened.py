"""What was opened lately: tokens, and what injectors made of them; for a second each, and no more than MOST of them.

A token whose second is over is kept with the box it came from. While the store still holds that very box, nothing of it
need be opened again: a box cannot change and stay the same. What may not be here: the store, and decisions.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final, NamedTuple

from valetkey.values import Entry, Token
from valetkey.vault.judge import Serve
from valetkey.vault.views import Credential

SECONDS: Final = 1.0
"""How long an opened token is handed out without looking at the store: a disconnect is obeyed within this time."""

MOST: Final = 4096
"""Opened tokens held in memory at once; a server with more connections opens their boxes again."""


BOX_MOST: Final = 4096
"""Bytes of a box that is kept to compare with: a record with an id_token has half of that, one with thirty targets is
opened again."""


class Held(NamedTuple):
    """Be an opened token. `use` counts that it was handed out."""

    until: float
    token: Token
    use: Callable[[], object]
    served: Serve


class Opened:
    """Hold what was opened. Safe for many threads: who reads never waits.

    A forked child begins with nothing: who had a token is counted by the parent until the child opens it itself.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, Held] = {}
        self._credentials: dict[str, Credential] = {}
        self._changing = threading.RLock()  # a signal's handler may want a token too
        self._ended = False
        _LIVING.add(self)

    def token(self, name: str) -> Held | None:
        """Return a token whose second is not over."""
        held = self._tokens.get(name)
        return held if held is not None and time.monotonic() < held.until else None

    def still(self, name: str, entry: Entry | None, moment: float) -> Serve | None:
        """Return what was opened from the box of this entry, while it is fresh at `moment` (seconds since 1970)."""
        held = self._tokens.get(name)
        if held is None or entry is None or entry.box != held.served.box or moment >= held.served.fresh_until:
            return None
        return held.served

    def credential(self, name: str) -> Credential | None:
        """Return what an injector needs, if its second is not over; it ends with that of the token it was made for."""
        made = self._credentials.get(name)
        return made if made is not None and time.monotonic() < made.validity.until else None

    def keep(self, name: str, served: Serve, use: Callable[[], object], fresh_for: float) -> None:
        """Hold a token for a second, or for the seconds that it is still fresh."""
        if len(served.box) > BOX_MOST:
            served = Serve(served.token, served.fresh_until)
        with self._changing:
            if self._ended:
                return
            if len(self._tokens) >= MOST and name not in self._tokens:
                self._clear()
            self._tokens[name] = Held(time.monotonic() + min(SECONDS, fresh_for), served.token, use, served)
            made = self._credentials.get(name)
            if made is not None and made.token is not served.token:
                self._end(name)

    def keep_credential(self, name: str, made: Credential, since: float) -> None:
        """Hold what was made of the token that is held, for as long as that is handed out.

        `since` is the moment of before it was made: what its hosts were read from may have taken its time to come.
        """
        with self._changing:
            held = self._tokens.get(name)
            if held is not None and held.token is made.token:
                self._end(name)
                made.validity.until = min(held.until, since + SECONDS)
                self._credentials[name] = made

    @staticmethod
    def moment() -> float:
        """Return the time by which seconds are counted here."""
        return time.monotonic()

    def forget(self, name: str) -> None:
        """Hold nothing of a connection."""
        with self._changing:
            self._tokens.pop(name, None)
            self._end(name)

    def clear(self) -> None:
        """Hold nothing."""
        with self._changing:
            self._clear()

    def end(self) -> None:
        """Hold nothing from now on: the vault is being closed."""
        with self._changing:
            self._ended = True
            self._clear()

    def forked(self) -> None:
        """Hold nothing, in a new process: the one who was changing something is not in it."""
        self._changing = threading.RLock()
        self._clear()

    def _clear(self) -> None:
        self._tokens.clear()
        for name in list(self._credentials):
            self._end(name)

    def _end(self, name: str) -> None:
        """Give a credential to nobody any more. An injector that has it in hand asks again before its next use."""
        made = self._credentials.get(name)
        if made is not None:
            made.validity.end()  # before it is out of sight: a child that is forked in between ends what it finds
            self._credentials.pop(name, None)

    def __repr__(self) -> str:
        return f"<Opened, {len(self._tokens)} tokens>"


_LIVING: Final[weakref.WeakSet[Opened]] = weakref.WeakSet()


def _forked() -> None:
    for opened in list(_LIVING):
        opened.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
