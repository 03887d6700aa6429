"""A store that goes away in mid-load, again and again, while callers renew at a strict provider; and what is lost.

The judge is the provider: every grant must be alive in the end, and every connection renewable without a person.
"""

from __future__ import annotations

import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import valetkey
from valetkey.errors import StoreUnavailable, Weather
from vaultkit import connect, sandbox_app

CONNECTIONS = 8
CALLERS = 6
PATIENCE = 120


@dataclass
class Load:
    """Renew connections of one vault from several threads until told to stop; count what callers are told."""

    vault: valetkey.Vault
    names: list[str]
    told: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stop, self.changed = threading.Event(), threading.Condition()
        self.threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]

    def _call(self, seed: int) -> None:
        luck = random.Random(seed)
        while not self.stop.is_set():
            try:
                self.vault.refresh(luck.choice(self.names))
                self._count("a token")
            except (StoreUnavailable, Weather) as refusal:
                self._count(refusal.code)
            except Exception:  # noqa: BLE001  # told by the test
                self.strange.append(traceback.format_exc())
                self._count("something else")

    def _count(self, what: str) -> None:
        with self.changed:
            self.told[what] += 1
            self.changed.notify_all()

    def until(self, what: str, more: int) -> None:
        """Wait until callers were told something so many times more."""
        with self.changed:
            wanted = self.told[what] + more
            assert self.changed.wait_for(lambda: self.told[what] >= wanted or bool(self.strange), PATIENCE)

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)


def outages(
    vault: valetkey.Vault, sandbox, times: int, go: Callable[[], None], come: Callable[[], None]
) -> Counter[str]:
    """Take the store away and give it back so many times in mid-load; return what callers were told.

    Fails if a grant was lost, or a caller was told anything but that the store, or the provider, is not to be reached.
    """
    vault.add_app(sandbox_app(sandbox))
    names = [f"sb/user-{number}" for number in range(CONNECTIONS)]
    for name in names:
        connect(vault, sandbox, name)
    with Load(vault, names) as load:
        for _ in range(times):
            load.until("a token", 20)
            go()
            load.until("store_unavailable", 3)
            come()
        load.until("a token", 20)
    assert not load.strange, load.strange[0]
    for name in names:
        vault.refresh(name)
        assert vault.connection(name).state == "active"
        assert sandbox.grant_alive(name.partition("/")[2])
    return load.told
