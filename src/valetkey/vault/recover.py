"""Bring a spilled token home: at every start, and before a connection is renewed.

Before it is renewed, because the store still holds the refresh token that was spent for what was spilled: spending it
again would end the grant where reuse is punished. What may not be here: files and stores; the world has them.
"""

from __future__ import annotations

from contextlib import suppress

from valetkey.effects import Plan, load, note, now, swap
from valetkey.errors import ValetkeyError
from valetkey.run import run
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.desk import Desk
from valetkey.vault.records import Connection, from_bytes
from valetkey.vault.saving import merged, newer
from valetkey.vault.world import VaultWorld


def bring_home(desk: Desk, world: VaultWorld) -> None:
    """Save what was spilled while the store was down.

    What cannot be saved now stays where it is: the store may still be down, or the entry is of another vault that lay
    here before, or of a later valetkey, and a person may want to look at it.
    """
    for record, entry in world.spilled():
        with suppress(ValetkeyError):
            if run(recover(desk, record, entry), world):
                world.unspill(record)


def recover(desk: Desk, record: str, spilled: Entry) -> Plan[bool]:
    """Save a spilled connection unless the store knows better; say whether the spilled entry can be dropped."""
    kept = from_bytes(Connection, record, desk.sealer.open(record, spilled.box))
    entry = yield from load(record)
    current = None if entry is None else from_bytes(Connection, record, desk.sealer.open(record, entry.box))
    if _outdated(kept, current):
        return True
    if current is not None and kept.spent:
        kept = merged(current, kept)
    moment = (yield from now()).timestamp()
    done = yield from swap(record, entry.version if entry else 0, desk.seal_connection(kept, moment))
    if done:
        yield from note("refresh.recovered", record.removeprefix(names.CONNECTIONS), reason="spilled")
    return done


def _outdated(kept: Connection, current: Connection | None) -> bool:
    """Say whether the store knows better than what was spilled."""
    if current is None:
        return bool(kept.spent) or kept.generation > 1  # removed meanwhile; a first grant was never saved at all
    if current.revoked_at > kept.refreshed_at:
        return True
    if current.consented_at != kept.consented_at:
        return kept.consented_at < current.consented_at  # what was renewed of the older grant does not count
    if not kept.spent:  # a consent, or a machine's token: no older refresh token tells whose it is
        return current.generation >= kept.generation
    return newer(current, kept)
