"""The vault's data keys in an episode: each replica knows some, somebody makes new ones and retires the old.

What a replica knows of them is LiveKeys, the real one. What may not be here: what the records hold.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from simulation.knowledge import Violation
from valetkey.effects import load, note, now, sleep
from valetkey.errors import ValetkeyError, VaultDamaged
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.keyring import Keyring
from valetkey.vault.livekeys import LOOK_SECONDS, LiveKeys
from valetkey.vault.reseal import seal_anew
from valetkey.vault.seal import Sealer, key_id_of
from valetkey.vault.stores.base import Store

if TYPE_CHECKING:
    from simulation.engine import Engine
    from simulation.house import Task

RETIRED_AFTER: Final = LOOK_SECONDS + 1.0
"""Seconds after a reseal; the real hour is longer, so that nobody need reckon. This is the shortest that is right."""

LOOKS: Final = 12
PAUSE: Final = 5.0

_HEAD: Final = 5


class PlainSealer(Sealer):
    """Stand in for AES-GCM where its cost would be most of the run: binds a box to its name and key, hides nothing."""

    def learn(self, keys: Mapping[bytes, bytes], current: bytes) -> None:
        self._former = {**self._former, **self._ciphers}
        self._ciphers = dict.fromkeys(keys)
        self.current = current

    def seal(self, name: str, plain: bytes) -> bytes:
        return b"\1" + self.current + name.encode() + b"\0" + plain

    def open(self, name: str, box: bytes) -> bytes:
        if not self.knows(box):
            raise VaultDamaged(f"record {name} is sealed with a key that is not known")
        return plainly(name, box)

    def sealed_anew(self, name: str, box: bytes) -> bytes:
        return self.seal(name, plainly(name, box))


def plainly(name: str, box: bytes) -> bytes:
    """Return what a plain box holds, whatever its key."""
    head = name.encode() + b"\0"
    if not box.startswith(head, _HEAD):
        raise VaultDamaged(f"record {name} does not open")
    return box[_HEAD + len(head) :]


@dataclass(frozen=True)
class OpenKek:
    """Be a key-encryption key that encrypts nothing."""

    key_id: bytes = b"the  kek"
    where: str = "the simulation"
    descriptor: bytes = b""

    def wrap(self, plain: bytes, context: bytes) -> bytes:
        del context
        return plain

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        del context
        return wrapped


KEK: Final = OpenKek()


def live(store: Store, *, sealed: bool, tick: Callable[[], float]) -> LiveKeys:
    """Return what a process that opens the vault now knows of its keys."""
    entry = store.load(names.KEYRING)
    assert entry is not None
    keyring = Keyring.unwrapped(entry.box, KEK)
    return LiveKeys(store, keyring, KEK, sealer=None if sealed else keyring.taught(PlainSealer), tick=tick, clock=tick)


class Observer:
    """Open everything, as nobody of the vault can: with every key there ever was."""

    def __init__(self, store: Store, *, sealed: bool) -> None:
        self._store = store
        self._sealed = sealed
        self._keys = live(store, sealed=sealed, tick=lambda: 0.0)
        self.current = self._keys.sealer.current
        self.seal = self._keys.sealer.seal

    def open(self, name: str, box: bytes) -> bytes:
        if not self._sealed:
            return plainly(name, box)
        sealer = self._keys.sealer
        self._keys.known(Entry("", box))
        return sealer.open(name, box if sealer.is_current(box) else sealer.sealed_anew(name, box))

    def is_current(self, box: bytes) -> bool:
        return key_id_of(box) == self.current


# ── who changes them ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Rekey:
    """Ask for a new data key, or for the end of older ones: one write of the keyring (LiveKeys)."""

    kind: str
    old: tuple[bytes, ...] = ()


Script = Generator[Any, Any, Any]


def resealing(engine: Engine, task: Task) -> Script:
    """Change the key several times in a row: who comes between the steps of another's work does so often."""
    for _ in range(1 + (task.draw() & 7)):
        yield from _resealed(engine, task)
        yield from sleep((task.draw() & 0xFF) / 100)


def _resealed(engine: Engine, task: Task) -> Script:
    """Make a new key and go through all records, as reseal.reseal does."""
    yield from note("vault.reseal_started", "vault")
    made = yield Rekey("renew")
    wanted = engine.world.all_names()
    for attempt in range(LOOKS):
        if attempt:
            yield from sleep(PAUSE)
        held = []
        for name in wanted:
            became = yield from seal_anew(task.replica.desk, name)
            engine.seen[f"resealed {became}"] += 1
            if became == "held":
                held.append(name)
        if not held:
            engine.world.resealed = (made, (yield from now()).timestamp())
            engine.world.resealed_at = engine.now
            break
        wanted = held
    yield from note("vault.resealed", "vault")


def retiring(engine: Engine, task: Task) -> Script:
    """End the older keys if the last reseal was done long enough ago and nothing needs them, as reseal.retire does."""
    made, done_at = engine.world.resealed
    keyring = Keyring.unwrapped((yield from load(names.KEYRING)).box, KEK)
    old = tuple(key_id for key_id in keyring.made if key_id != keyring.current)
    moment = (yield from now()).timestamp()
    early = engine.now - engine.world.resealed_at < RETIRED_AFTER or moment < done_at
    if not old or made != keyring.current or early:
        return "early"
    for name in engine.world.all_names():
        entry = yield from load(name)
        over = entry is None or (name.startswith(names.PENDING) and entry.due_at.timestamp() < moment)
        if not over and key_id_of(entry.box) in old:
            return "needed"
    if any(key_id_of(entry.box) in old for replica in engine.replicas for entry in replica.folder.values()):
        return "spilled"
    yield Rekey("retire", old)
    return "retired"


def readable(store: Store, all_names: Iterable[str], moment: float) -> None:
    """Check that a process that starts now can open every record; raises Violation."""
    entry = store.load(names.KEYRING)
    known = Keyring.unwrapped(entry.box, KEK).made
    for name in all_names:
        entry = store.load(name)
        passed = name.startswith(names.PENDING) and entry is not None and entry.due_at.timestamp() < moment
        if entry is not None and not passed and key_id_of(entry.box) not in known:
            raise Violation("unreadable", f"{name} is sealed with a key that was retired")


def quietly(keys: LiveKeys, entry: Entry | None) -> Entry | None:
    """Return what was spilled, its key known, as world.py does; None where it is of keys that cannot be had."""
    try:
        return keys.known(entry)
    except ValetkeyError:
        return None
