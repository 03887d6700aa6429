"""Saving what a provider gave, whatever it takes: tried again, put beside what others saved meanwhile, spilled.

An answer that is lost here is a grant that is lost. What may not be here: I/O, and judging the answer.
"""

from __future__ import annotations

from typing import Final

import msgspec

from valetkey.effects import Plan, load, now, sleep, spill, swap
from valetkey.errors import NotFound, StoreUnavailable
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.desk import Desk, fingerprint
from valetkey.vault.records import Connection, owner_of

SAVE_DELAYS: Final = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts to save an answer, 8 in all; then it is spilled."""


SPILL_SECONDS: Final = 15.0
"""Since the claim; a store that is away can take ten seconds to say so at each attempt. When the lease lapses, whoever
comes next must find the answer, or spends the same refresh token again."""


def keep(desk: Desk, version: int, renewed: Connection, *, replaces: bool = False) -> Plan[Connection]:
    """Save what a provider gave, whatever it takes; return what the store holds in the end.

    A newer version is never overwritten, unless it still holds the refresh token that was spent for this answer, or
    a person has just consented anew (`replaces`).
    """
    record = names.connection_record(renewed.name)
    moment = (yield from now()).timestamp()
    for delay in SAVE_DELAYS:
        if delay:
            yield from sleep(delay)
        try:
            if (yield from swap(record, version, desk.seal_connection(renewed, moment))):
                return renewed
            entry = yield from load(record)
        except StoreUnavailable:
            if (yield from now()).timestamp() >= renewed.refreshed_at + SPILL_SECONDS:
                yield from spill(record, desk.seal_connection(renewed, moment))
            continue
        standing = _standing(desk, entry, renewed, replaces=replaces)
        if standing is not None:
            return standing
        if entry is not None and not replaces:
            renewed = merged(desk.connection(renewed.name, entry), renewed)
        version = entry.version if entry is not None else 0
    yield from spill(record, desk.seal_connection(renewed, moment))
    return renewed


def _standing(desk: Desk, entry: Entry | None, renewed: Connection, *, replaces: bool) -> Connection | None:
    """Return what the store holds if it may not be replaced; raises NotFound."""
    if entry is None:
        if not replaces:
            raise NotFound(f"connection {renewed.name} was removed while it was being renewed")
        return None
    current = desk.connection(renewed.name, entry)
    if not replaces:
        return current if newer(current, renewed) else None
    # A later consent; or this very one: it was written though the store could not say so, and it may have been renewed
    # since.
    return current if current.consented_at >= renewed.consented_at > 0 else None


def newer(current: Connection, renewed: Connection) -> bool:
    """Say whether what the store holds came after what was renewed: reconnected, disconnected, or renewed later."""
    held = current.refresh_token(renewed.spent_part)
    if fingerprint(held) != renewed.spent or current.revoked_at:
        return True
    # A refresh token that does not rotate stays the same: there the renewal that was saved first is the later one, if
    # it was of the same token. What was saved for another target last leaves only the clocks to tell.
    stays = fingerprint(renewed.refresh_token(renewed.spent_part)) == renewed.spent
    if not stays or current.generation < renewed.generation:
        return False
    mine, theirs = renewed.held(renewed.spent_for), current.held(renewed.spent_for)
    overtaken = mine is not None and theirs is not None and theirs.obtained_at >= mine.obtained_at
    return overtaken or current.spent_for == renewed.spent_for


def merged(current: Connection, renewed: Connection) -> Connection:
    """Return what the store holds now with the renewed tokens in it, and with what others changed meanwhile."""
    parts = dict(current.parts)
    for part, tokens in renewed.parts.items():
        held = parts.get(part)
        if held is None or part == renewed.spent_part or held.obtained_at < tokens.obtained_at:
            parts[part] = tokens
    own = current.tokens if renewed.spent_part else renewed.tokens
    if owner_of(renewed.spent_for) != renewed.spent_for and own is not None and current.tokens is not None:
        own = msgspec.structs.replace(current.tokens, refresh=own.refresh)
    return msgspec.structs.replace(
        current,
        tokens=own,
        parts=parts,
        kept={**current.kept, **renewed.kept},
        lease=None,
        intent=None,
        trouble=None,
        refreshed_at=renewed.refreshed_at,
        generation=max(current.generation + 1, renewed.generation),
        spent=renewed.spent,
        spent_part=renewed.spent_part,
        spent_for=renewed.spent_for,
        rotates=renewed.rotates,
        margin=renewed.margin,
        idle=renewed.idle,
    )
