"""What was opened lately: tokens, and what injectors made of them; for a second each, and no more than MOST of them.

A token whose second is over is kept with the box it came from. While the store still holds that very box, nothing of it
need be opened again: a box cannot change and stay the same. What may not be here: the store, and decisions.
"""

from __future__ import annotations

import os
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
    """Hold what was opened. Safe for many threads: what two of them make of it at once is compared when it is read.

    A forked child begins with nothing: who had a token is counted by the parent until the child opens it itself.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, Held] = {}
        self._credentials: dict[str, tuple[float, Credential]] = {}
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
        made, held = self._credentials.get(name), self._tokens.get(name)
        if made is None or held is None or made[1].token is not held.token or time.monotonic() >= made[0]:
            return None
        return made[1]

    def keep(self, name: str, served: Serve, use: Callable[[], object], fresh_for: float) -> None:
        """Hold a token for a second, or for the seconds that it is still fresh."""
        if len(self._tokens) >= MOST and name not in self._tokens:
            self.clear()
        until = time.monotonic() + min(SECONDS, fresh_for)
        if len(served.box) > BOX_MOST:
            served = Serve(served.token, served.fresh_until)
        self._tokens[name] = Held(until, served.token, use, served)

    def keep_credential(self, name: str, made: Credential, since: float) -> None:
        """Hold what was made of the token that is held, for as long as that is handed out.

        `since` is the moment of before it was made: what its hosts were read from may have taken its time to come.
        """
        held = self._tokens.get(name)
        if held is not None:
            self._credentials[name] = (min(held.until, since + SECONDS), made)

    @staticmethod
    def moment() -> float:
        """Return the time by which seconds are counted here."""
        return time.monotonic()

    def forget(self, name: str) -> None:
        """Hold nothing of a connection."""
        self._tokens.pop(name, None)
        self._credentials.pop(name, None)

    def clear(self) -> None:
        """Hold nothing."""
        self._tokens.clear()
        self._credentials.clear()

    def __repr__(self) -> str:
        return f"<Opened, {len(self._tokens)} tokens>"


_LIVING: Final[weakref.WeakSet[Opened]] = weakref.WeakSet()


def _forked() -> None:
    for opened in list(_LIVING):
        opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
