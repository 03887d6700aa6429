"""Crashes in the middle of a reseal: a record that is sealed with a new data key, or not yet.

The keyring's own change is one write. What may not be here: the words of the page (docs/_crashes.py).
"""

from __future__ import annotations

from typing import Final

from simulation.crashes import LATER, Case, Plan, instant, name_of, next_token
from simulation.house import QuickDesk, World
from simulation.keys import live
from valetkey.run import run
from valetkey.vault import names
from valetkey.vault.desk import Desk
from valetkey.vault.reseal import seal_anew
from valetkey.vault.seal import key_id_of


def _rekeyed(world: World) -> Desk:
    """Return the desk of a process that has just made a new data key."""
    keys = live(world.store, sealed=False, tick=lambda: 0.0)
    keys.renew()
    return QuickDesk(keys.sealer)


def _record(world: World) -> str:
    return names.connection_record(name_of(world))


def _sealing(world: World, desk: Desk) -> Plan:
    return seal_anew(desk, _record(world))


def _after_sealing(world: World, _desk: Desk) -> str:
    """Start a process that knows the keyring as it is, look at the record, do it again, and ask for a token."""
    desk = QuickDesk(live(world.store, sealed=False, tick=lambda: 0.0).sealer)
    entry = world.store.load(_record(world))
    assert entry is not None
    key = "the new key" if desk.sealer.is_current(entry.box) else "an older key"
    run(seal_anew(desk, _record(world)), instant(world, LATER))
    again = world.store.load(_record(world))
    assert again is not None
    assert key_id_of(again.box) == desk.sealer.current
    return f"under {key}; the new one when it is done again; {next_token(world)}"


KEYS: Final = (Case("Sealing a record with a new data key", _rekeyed, _sealing, _after_sealing),)
