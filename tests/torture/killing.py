"""Kill -9 of a process that refreshes, at random instants, and what is left of the connection each time.

The judge is the provider's own count of refreshes: a connection may be lost only where the provider is strict, had
given an answer, and the process died before that answer was saved. Everywhere else it must go on without a person.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import valetkey
from racing import PRELOADED
from valetkey.errors import NeedsReconnect, Weather
from valetkey.vault import names, renew

PATIENCE = 60
KILLS = int(os.environ.get("TORTURE_KILLS", "5"))
"""Kills of each kind of provider: a few in `make test`, a hundred in `make torture`."""

LEASE, SENDING = 1.2, 1.0
"""Seconds for the victims; short, so that hundreds of crashes do not each cost the lease of a real vault. The judge keeps
those of a real vault: what it asks is not to be lost."""

REASONS = {"open": "crashed_mid_refresh", "answer_lost": "answer_lost"}
"""What a loss must be called by what stands in the intent: the victim died, or had given up waiting before it died."""

SPAN = 0.06
"""Seconds within which a random kill comes: a few refreshes over loopback."""

HUNTED = 3
"""Of so many kills one is not at random but as soon as the provider has counted a refresh: the answer is under way then,
an instant that is too short to be met often by chance."""

SETTLED = 0.15
"""Seconds in which a provider finishes what it was doing for the victim, before its count is read."""


@dataclass
class Provider:
    """Be what a provider is to the torture: how to consent anew, how often it answered, and whether it forgives."""

    consent: Callable[[Any], None]
    answered: Callable[[], int]
    strict: bool


@dataclass
class Report:
    """Be what came of it."""

    kills: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def publish(what: str, report: Report) -> None:
    """Add a report to the file that TORTURE_REPORT names; docs/torture.md keeps the last ones."""
    place = os.environ.get("TORTURE_REPORT")
    if place:
        with Path(place).open("a") as file:
            file.write(json.dumps({"what": what, "kills": report.kills, **report.outcomes}) + "\n")


def hasten() -> None:
    """Shorten lease and time-out; the order between them stays."""
    renew.LEASE_SECONDS, renew.SEND_SECONDS = LEASE, SENDING


def refresh_for_ever(path: str, name: str, ready: Any) -> None:
    """Be the victim."""
    hasten()
    vault = valetkey.open(path, create=False)
    ready.set()
    while True:
        with suppress(Weather):  # a busy machine: it tries again, until it is killed
            vault.refresh(name)


def kill_at_random(path: Path, name: str, provider: Provider, kills: int, seed: int) -> Report:
    """Kill `kills` refreshing processes; after each, renew as the next process would, and judge what happened."""
    luck, report = random.Random(seed), Report()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with valetkey.open(path) as vault:
        provider.consent(vault)
        while report.kills < kills:
            ready = context.Event()
            before = provider.answered()
            answered = before - saved(vault, name)
            victim = context.Process(target=refresh_for_ever, args=(str(path), name, ready))
            victim.start()
            assert ready.wait(PATIENCE)
            wait(provider, before, 0.0 if luck.randrange(HUNTED) == 0 else luck.uniform(0.0, SPAN))
            os.kill(victim.pid, signal.SIGKILL)
            victim.join(PATIENCE)
            report.kills += 1
            time.sleep(SETTLED)
            judge(vault, name, provider, report, answered)
    return report


def wait(provider: Provider, before: int, seconds: float) -> None:
    """Wait so many seconds; 0: until the provider has counted one refresh more."""
    time.sleep(seconds)
    end = time.monotonic() + (PATIENCE if not seconds else 0.0)
    while provider.answered() == before and time.monotonic() < end:
        pass


def saved(vault: valetkey.Vault, name: str) -> int:
    return vault.connection(name).refreshes


def judge(vault: valetkey.Vault, name: str, provider: Provider, report: Report, offset: int) -> None:
    """Look at what the crash left, renew, and say whether the outcome is one that may be."""
    left = held(vault, name)
    unsaved = provider.answered() - offset - max(0, left.generation - 1)
    if left.intent is None:
        where = "between two refreshes"
    elif unsaved == 0:
        where = "before the provider answered"
    else:
        where = "after the answer, before it was saved"
    may_be_lost = provider.strict and unsaved > 0
    try:
        vault.refresh(name)
        outcome = "lives"
    except NeedsReconnect as lost:
        outcome = f"lost ({lost.reason})"
        if not may_be_lost:
            report.violations.append(f"kill {report.kills}: {where}: {outcome}")
        elif left.intent is not None and lost.reason != REASONS.get(left.intent.fate):
            report.violations.append(f"kill {report.kills}: {where}: the reason is {lost.reason}")
        provider.consent(vault)
    if vault.connection(name).state != "active":
        report.violations.append(f"kill {report.kills}: {where}: {vault.connection(name).state} at the end")
    vault.token(name)
    report.outcomes[f"{where}: {outcome}"] += 1


def held(vault: valetkey.Vault, name: str) -> Any:
    return vault._desk.connection(name, vault._world.store.load(names.connection_record(name)))
