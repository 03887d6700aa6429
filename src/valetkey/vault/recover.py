"""Bring a spilled token home. What may not be here: I/O."""

from __future__ import annotations

from valetkey.effects import Plan, load, note, now, swap
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.desk import Desk, fingerprint
from valetkey.vault.records import Connection, from_bytes


def recover(desk: Desk, record: str, spilled: Entry) -> Plan[bool]:
    """Save a spilled connection unless the store knows better; say whether the spilled entry can be dropped."""
    kept = from_bytes(Connection, record, desk.sealer.open(record, spilled.box))
    entry = yield from load(record)
    if entry is None:
        return kept.generation > 1 or bool(kept.spent)  # removed meanwhile, or never saved at all
    current = from_bytes(Connection, record, desk.sealer.open(record, entry.box))
    same_grant = fingerprint(current.tokens.refresh if current.tokens else None) == kept.spent
    if current.generation >= kept.generation or current.revoked_at or not same_grant:
        return True
    moment = (yield from now()).timestamp()
    done = yield from swap(record, entry.version, desk.seal_connection(kept, moment))
    if done:
        yield from note("refresh.recovered", record.removeprefix(names.CONNECTIONS), reason="spilled")
    return done
