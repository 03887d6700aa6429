"""Another data key for a whole vault, while it is in use: made, taken for every record, and the old ones retired.

1. `reseal` makes a key by one write of the keyring. Whoever writes from then on writes with it (livekeys.py).
2. It goes through all records, and seals anew what lies under an older key: each by one compare-and-set, so that
   nothing anybody else writes is undone. What is in somebody's hands is left to them, and looked at again.
3. `retire` takes the old keys out of the keyring, once they open nothing and nobody can be writing with them. Only then
   is a record that was put back from an older copy of the vault refused.

Killed at any step, all keys are there that are needed, and the same command goes on: which key a record is sealed with
is written on it. What may not be here: stores, the key-encryption key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import msgspec

from valetkey.effects import Event, Plan, load, now, swap
from valetkey.errors import InvalidInput, StoreUnavailable, VaultDamaged, VaultUnreadable
from valetkey.run import run
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.desk import Desk
from valetkey.vault.keyring import Keyring
from valetkey.vault.livekeys import LOOK_SECONDS, LiveKeys
from valetkey.vault.notices import CARRY_SECONDS
from valetkey.vault.records import from_bytes, stored_as, to_bytes
from valetkey.vault.seal import key_id_of
from valetkey.vault.world import VaultWorld

PAGE: Final = 1000
WORKERS: Final = 2
"""Threads that seal anew. Measured on SQLite: 3,100 records a second with one, 3,800 with two, 2,500 with four."""

PASSES: Final = 20
PAUSE_SECONDS: Final = 5.0
"""Between two looks at what was in somebody's hands; the longest lease is 45 seconds."""

RETIRE_SECONDS: Final = 3600.0
"""After a reseal, until the keys before may go: many times LOOK_SECONDS, after which nobody writes with them."""

HELD_SECONDS: Final = CARRY_SECONDS + 5.0
"""A notice or publication that is due within this time may be under way."""

Became: TypeAlias = Literal["sealed", "current", "held", "gone"]
Progress: TypeAlias = Callable[[str, int, int], None]


@stored_as
class Reseal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be the last reseal: for which key, since when, and when it was done (0: it is not)."""

    key: str
    started_at: float
    done_at: float = 0.0


@dataclass
class Resealed:
    """Say what a reseal did. `held` were in somebody's hands to the end; `damaged` do not open, or not here."""

    key: str
    records: int = 0
    sealed: int = 0
    resumed: bool = False
    held: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


# ── one record ────────────────────────────────────────────────────────────────────────────────────────────────


def seal_anew(desk: Desk, name: str) -> Plan[Became]:
    """Seal one record with the current key, unless somebody is working with it; raises VaultDamaged."""
    entry = yield from load(name)
    if entry is None or name.startswith(names.PENDING):
        return "gone"  # a pending authorization is gone within minutes, and is good for one write only
    if desk.sealer.is_current(entry.box):
        return "current"
    moment = (yield from now()).timestamp()
    if _held(desk, name, entry, moment):
        return "held"
    anew = replace(entry, box=desk.sealer.sealed_anew(name, entry.box))
    return "sealed" if (yield from swap(name, entry.version, anew)) else "held"


def _held(desk: Desk, name: str, entry: Entry, moment: float) -> bool:
    """Say whether somebody has taken the record to write it again: to come between would cost them their work."""
    if name.startswith(names.CONNECTIONS):
        lease = desk.connection(name.removeprefix(names.CONNECTIONS), entry).lease
        return lease is not None and moment < lease.until
    if name == names.SURVEY:
        return entry.state == "running"
    if entry.due_at is None or not name.startswith((names.NOTICES, names.PUBLISHED)):
        return False
    return 0 < entry.due_at.timestamp() - moment <= HELD_SECONDS


# ── the whole vault ───────────────────────────────────────────────────────────────────────────────────────────


def reseal(
    desk: Desk,
    world: VaultWorld,
    *,
    progress: Progress = lambda _doing, _done, _of: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Resealed:
    """Make a new data key and seal every record with it, or go on where that ended early; raises the VaultErrors."""
    begun, resumed = _begun(desk, world)
    done = Resealed(key=begun.key, resumed=resumed)
    wanted: Iterable[str] = _all_names(world)
    for attempt in range(PASSES):
        if attempt:
            progress("waiting for records in use", done.sealed, done.records)
            sleep(PAUSE_SECONDS)
        _pass(desk, world, done, wanted, progress if attempt == 0 else None)
        if not done.held:
            break
        wanted = list(done.held)
    if not done.held and not done.damaged:
        ended = msgspec.structs.replace(begun, done_at=world.clock().timestamp())
        _write(desk, world, ended)
    world.audit.note(Event("vault.resealed", "vault", detail=_told(done)))
    return done


def _begun(desk: Desk, world: VaultWorld) -> tuple[Reseal, bool]:
    """Return the reseal under way, or begin one: the audit log first, the key, then the record that tells of it."""
    there = world.store.load(names.RESEAL)
    if there is not None:
        before = from_bytes(Reseal, names.RESEAL, desk.sealer.open(names.RESEAL, there.box))
        if not before.done_at and before.key == desk.sealer.current.hex():  # compared: ids of keys, in the clear
            return before, True
    world.audit.note(Event("vault.reseal_started", "vault", detail={"before": desk.sealer.current.hex()}))
    begun = Reseal(key=_keys(world).renew().hex(), started_at=world.clock().timestamp())
    _write(desk, world, begun)
    return begun, False


def _write(desk: Desk, world: VaultWorld, reseal: Reseal) -> None:
    there = world.store.load(names.RESEAL)
    state = "done" if reseal.done_at else "running"
    box = desk.sealer.seal(names.RESEAL, to_bytes(reseal))
    if not world.store.swap(names.RESEAL, there.version if there is not None else 0, Entry(state, box)):
        raise StoreUnavailable("another process seals this vault anew at the same time", fix="let it end; try again")


def _pass(desk: Desk, world: VaultWorld, done: Resealed, all_names: Iterable[str], progress: Progress | None) -> None:
    """Look at records once; what is in somebody's hands is held, what does not open is damaged."""
    total = sum(world.store.count("").values()) if progress is not None else 0
    seen = 0
    done.held = []

    def one(name: str) -> tuple[str, Became | Literal["damaged"]]:
        try:
            return name, run(seal_anew(desk, name), world)
        except (VaultDamaged, VaultUnreadable):  # the second: written by a later valetkey, which can seal it anew
            return name, "damaged"

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="valetkey-reseal") as pool:
        for page in _paged(all_names):
            for name, became in pool.map(one, page):
                seen += 1
                done.sealed += became == "sealed"
                if became == "held":
                    done.held.append(name)
                elif became == "damaged" and name not in done.damaged:
                    done.damaged.append(name)
            if progress is not None:
                done.records = seen
                progress("sealing anew", seen, max(seen, total))


def _all_names(world: VaultWorld) -> Iterator[str]:
    after = ""
    while page := world.store.names("", after, PAGE):
        yield from (name for name in page if name not in {names.KEYRING, names.RESEAL})
        after = page[-1]


def _paged(all_names: Iterable[str]) -> Iterator[list[str]]:
    page: list[str] = []
    for name in all_names:
        page.append(name)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _told(done: Resealed) -> dict[str, str]:
    return {
        "key": done.key,
        "sealed": str(done.sealed),
        "held": str(len(done.held)),
        "damaged": str(len(done.damaged)),
    }


# ── the old keys ──────────────────────────────────────────────────────────────────────────────────────────────


def retire(desk: Desk, world: VaultWorld, *, progress: Progress = lambda _doing, _done, _of: None) -> list[str]:
    """Take the data keys out of the keyring that open nothing any more, and return their ids.

    Raises InvalidInput before RETIRE_SECONDS have passed since a reseal was done, and where a record, or a token that
    waits beside the store of this machine, still needs one of them; nothing is changed then.
    """
    before = _keys(world).look()
    old = [key_id for key_id in before.made if key_id != before.current]
    if not old:
        return []
    _refuse_early(desk, world, before)
    needed = _needed(world, before, progress)
    if needed:
        name = next(iter(needed.values()))
        raise InvalidInput(
            f"{len(needed)} of the older data keys still open something, for example {name}",
            fix="`valetkey vault reseal` once more, then this an hour later; nothing was changed",
        )
    shown = [key_id.hex() for key_id in old]
    world.audit.note(
        Event("vault.keys_retired", "vault", detail={"keys": " ".join(shown), "current": before.current.hex()})
    )
    _keys(world).retire(old)
    return shown


def _refuse_early(desk: Desk, world: VaultWorld, keyring: Keyring) -> None:
    there = world.store.load(names.RESEAL)
    last = None if there is None else from_bytes(Reseal, names.RESEAL, desk.sealer.open(names.RESEAL, there.box))
    if last is None or last.key != keyring.current.hex() or not last.done_at:  # compared: ids of keys, in the clear
        raise InvalidInput(
            "there are records that may need the older data keys", fix="`valetkey vault reseal` first, to its end"
        )
    left = last.done_at + RETIRE_SECONDS - world.clock().timestamp()
    if left > 0:
        raise InvalidInput(
            f"the older data keys may be retired in {left / 60:.0f} minutes",
            cause=f"a program that has the vault open learns of a new key within {LOOK_SECONDS:.0f} seconds, and what "
            "it was writing until then must be written",
            fix="give the same command again then; nothing was changed",
        )


def _needed(world: VaultWorld, keyring: Keyring, progress: Progress) -> dict[bytes, str]:
    """Return the old keys that still open something, each with an example."""
    found: dict[bytes, str] = {}
    total, moment = sum(world.store.count("").values()), world.clock()
    for number, name in enumerate(_all_names(world), 1):
        entry = world.store.load(name)
        over = entry is None or (name.startswith(names.PENDING) and entry.due_at is not None and entry.due_at < moment)
        if entry is not None and not over and key_id_of(entry.box) != keyring.current:
            found.setdefault(key_id_of(entry.box), name)
        if number % PAGE == 0:
            progress("looking", number, total)
    for name, entry in world.spilled():
        if key_id_of(entry.box) != keyring.current:
            found.setdefault(key_id_of(entry.box), f"{name}, which waits beside the store")
    return {key_id: name for key_id, name in found.items() if key_id in keyring.made}


def _keys(world: VaultWorld) -> LiveKeys:
    assert world.keys is not None  # a world that was opened has them (opening.py)
    return world.keys
