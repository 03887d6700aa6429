"""What tests of the vault do in other processes: forks of the test's own, and fresh interpreters that start at once.

Functions for fresh interpreters stand here and not in the tests, because a spawned process imports them by name.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from valetkey.effects import Event
from valetkey.transport.sync import Transport
from valetkey.values import Entry, Secret
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.opening import open_world
from valetkey.vault.places import Place
from valetkey.vault.records import App

SECONDS = 60


def forked(work: Callable[[], object]) -> str:
    """Do work in a fork of this process; return its result as text, or fail with the child's traceback."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Python 3.12 warns of forks beside threads: that is the test
        child = os.fork()
    if child == 0:
        status, told = 1, ""
        try:
            told, status = str(work()), 0
        except BaseException:  # noqa: BLE001  # the parent reports it
            told = traceback.format_exc()
        finally:
            os.write(write, told.encode()[:60_000])
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, told
    return told


def together(count: int, work: Callable[..., object], *facts: object) -> list[object]:
    """Call `work(number, *facts)` in so many fresh interpreters, all at the same moment; return what they returned."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.SimpleQueue()
    processes = [
        context.Process(target=_start, args=(barrier, results, work, number, facts), daemon=True)
        for number in range(count)
    ]
    for process in processes:
        process.start()
    told = [results.get() for _ in processes]
    for process in processes:
        process.join(SECONDS)
        process.close()
    failures = [text for kind, text in told if kind == "failed"]
    assert not failures, failures[0]
    return [value for _, value in told]


def _start(barrier, results, work, number, facts) -> None:
    try:
        barrier.wait(SECONDS)
        results.put(("done", work(number, *facts)))
    except BaseException:  # noqa: BLE001  # the parent reports it
        results.put(("failed", traceback.format_exc()))


def count_up(_number: int, path: str, rounds: int) -> int:
    """Add to a counter in the store, by compare-and-set alone; return how often this process lost a race."""
    store, lost = Place.of(path).open(create=False), 0
    for _ in range(rounds):
        while True:
            entry = store.load("counter")
            if store.swap("counter", entry.version, Entry("n", str(int(entry.box) + 1).encode())):
                break
            lost += 1
    store.close()
    return lost


def make_store(number: int, path: str) -> bool:
    store = Place.of(path).open(create=True)
    done = store.swap(f"made/{number}", 0, Entry("made", b"here"))
    store.close()
    return done


def make_key(_number: int, path: str) -> str:
    return KeyFile.create(path).key_id.hex()


def make_vault(number: int, path: str) -> bytes:
    """Open the vault, made if need be, and add an app to it; return the keyring as it is stored."""
    desk, world = open_world(path, transport=Transport)
    app = App(name=f"app{number}", provider="generic", client_id="c", created_at=0.0, secret=Secret(f"secret-{number}"))
    assert world.store.swap(f"app/{app.name}", 0, desk.seal_app(app))
    box = world.store.load("keyring").box
    world.store.close()
    return box


def note_events(number: int, path: str, rounds: int) -> str:
    """Write so many events to the audit log, each durable; return the id of the chain."""
    _, world = open_world(path if "://" in path else Path(path), transport=Transport)
    for step in range(rounds):
        world.audit.note(Event("app.added", f"a{number}-{step}"))
    writer = world.audit.writer
    world.close()
    return writer
