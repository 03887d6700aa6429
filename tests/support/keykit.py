"""Vaults for the tests of keys: one with an app in it, its keyring as stored, whether it opens; commands that are killed."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import valetkey
from valetkey.vault import names
from valetkey.vault.places import Place
from vaultkit import an_app


def a_vault(path: Path) -> Place:
    """Make a vault with an app in it, whose key is in a file."""
    with valetkey.open(path) as vault:
        vault.add_app(an_app())
    return Place.of(path)


def box_of(place: Place) -> bytes:
    """Return the stored keyring."""
    store = place.open(create=False)
    box = store.load(names.KEYRING).box
    store.close()
    return box


def opens(place: Place, **how: object) -> bool:
    """Open the vault and look whether the app is there."""
    with valetkey.open(place.path, create=False, **how) as vault:
        return [app.name for app in vault.apps()] == ["acme"]


# ── killed in between ────────────────────────────────────────────────────────────────────────────────────────────

CHILD = """
import os, signal, sys
steps = int(sys.argv[3])
def step(*_):
    global steps
    steps -= 1
    if steps < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def before_and_after(owner, name):
    real = getattr(owner, name)
    def wrapped(*a, **k):
        step()
        done = real(*a, **k)
        step()
        return done
    setattr(owner, name, wrapped)
from valetkey.vault.stores.sqlite import SqliteStore
from valetkey.audit.recorder import Recorder
from valetkey.managers.aws import Aws
from valetkey.managers.hashicorp import HashiCorp
for name in ("load", "swap"):
    before_and_after(SqliteStore, name)
before_and_after(Recorder, "note")
before_and_after(Aws, "ask")
before_and_after(HashiCorp, "ask")
for name in ("open", "fsync", "link", "unlink"):
    before_and_after(os, name)
from valetkey.values import Secret
from valetkey.vault.keks.giving import Given
from valetkey.vault.keks.rewrap import Target, rewrap
from valetkey.vault.places import Place
ask = lambda: Secret(sys.argv[4])
rewrap(Place.of(sys.argv[1]), Target.of(sys.argv[2]), given=Given(ask=ask), ask=ask)
"""

STEPS_MOST = 200

EVERY = 1 if os.environ.get("TORTURE_KILLS") else 6
"""`make torture` kills at every step, `make test` at each sixth, from one drawn by chance: a drill takes half a minute."""


def kill_points(most: int = STEPS_MOST) -> range:
    """Return the steps at which a command is to be killed, in order; they go on beyond its end."""
    return range(secrets.randbelow(EVERY), most, EVERY)


def _killed_at(step: int, place: Place, target: str, phrase: str) -> int:
    command = [sys.executable, "-c", CHILD, str(place.path), target, str(step), phrase]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=env, check=False, capture_output=True, timeout=60).returncode


def killed_at_every_step(
    place: Place, target: str, *, opened: Callable[[int], None], back: Callable[[], None], phrase: str = ""
) -> int:
    """Kill a rewrap at one step after the other, until it comes to its end; return at which it was not killed any more.

    After each, `opened` is told the version of the box (2: described) and says whether the vault opens with that key;
    `back` undoes a rewrap that was killed after its one write.
    """
    boxes: set[int] = set()
    for step in kill_points():
        code = _killed_at(step, place, target, phrase)
        version = box_of(place)[0]
        boxes.add(version)
        opened(version)
        if code == 0:
            assert boxes == {1, 2}
            return step
        assert code == -9
        if version == (1 if target == "file" else 2):
            back()
    raise AssertionError("the command never came to its end")
