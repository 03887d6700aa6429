"""Crash at every question while a token is published: beginning, writing it where programs read it, ending.

What may not be here: how a crash is made (crashes.py); managers, which a list stands in for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from simulation.crashes import LATER, Case, Plan, instant, name_of
from simulation.house import START, World
from valetkey.effects import sleep
from valetkey.errors import AlreadyExists, NotFound
from valetkey.run import run
from valetkey.vault import names, publishing
from valetkey.vault.publishing import Publication

TARGET: Final = "file:/run/token.json"


@dataclass
class Reader:
    """Be where a program reads: what was written there, in order."""

    written: list[str] = field(default_factory=list)
    emptied: bool = False


def _wanted(world: World) -> Publication:
    return Publication(connection=name_of(world), target=TARGET, created_at=0.0)


def _begin(world: World) -> Plan:
    return publishing.publish_to(world.desk, _wanted(world))


def _begun(world: World) -> Reader:
    """Publish a token that outlives the story: one that has ended is left as it stands."""
    record = names.connection_record(name_of(world))
    entry = world.store.load(record)
    held = world.desk.connection(name_of(world), entry)
    assert entry is not None
    assert held.tokens is not None
    lasting = msgspec.structs.replace(held.tokens, expires_at=START + 10 * LATER)
    changed = msgspec.structs.replace(held, tokens=lasting)
    world.store.swap(record, entry.version, world.desk.seal_connection(changed, START))
    run(_begin(world), instant(world, 1.0))
    return Reader()


def _carried(world: World, reader: Reader) -> Plan:
    """Do as the publisher: claim, write, settle."""
    writing = yield from publishing.take(world.desk, _wanted(world).record)
    if writing is None:
        return
    reader.written.append(writing.fingerprint)
    reader.emptied = not writing.text
    yield from sleep(0.1)  # a manager takes its time to answer
    yield from publishing.settle(world.desk, writing, None)


def _written(world: World) -> Reader:
    reader = _begun(world)
    run(_carried(world, reader), instant(world, 2.0))
    return reader


def _ended(world: World, reader: Reader) -> Plan:
    """Do as the publisher: say that it ends, take away what stands there, forget it."""
    writing = yield from publishing.end(world.desk, name_of(world), TARGET)
    assert writing is not None
    yield from sleep(0.1)  # a manager takes its time to answer
    reader.emptied = True
    yield from publishing.settle(world.desk, writing, None)


def _after_beginning(world: World, _ready: Any) -> str:
    with suppress(AlreadyExists):
        run(_begin(world), instant(world, LATER))
        return "there when it is done again"
    return "there"


def _after_writing(world: World, reader: Reader) -> str:
    """Let it fall due again, twice; what stands there must be what the connection holds."""
    for seconds in (LATER, 2 * LATER):
        run(_carried(world, reader), instant(world, seconds))
    tokens = world.desk.connection(name_of(world), world.store.load(names.connection_record(name_of(world)))).tokens
    assert tokens is not None
    assert reader.written[-1] == tokens.access.fingerprint()
    return {1: "written once", 2: "written twice, the same"}[len(reader.written)]


def _after_ending(world: World, reader: Reader) -> str:
    """Let whoever carries publications look once; then do it again, if it is there still."""
    run(_carried(world, reader), instant(world, LATER))
    if world.store.load(_wanted(world).record) is None:
        assert reader.emptied, "a token was left behind"
        return "gone" if len(reader.written) == 1 else "gone at the next look"
    run(_ended(world, reader), instant(world, 2 * LATER))
    assert reader.emptied
    assert world.store.load(_wanted(world).record) is None
    return "there; gone when it is done again"


def _stop(world: World) -> Plan:
    return publishing.stop(world.desk, name_of(world), TARGET)


def _after_leaving(world: World, reader: Reader) -> str:
    assert not reader.emptied
    with suppress(NotFound):
        run(_stop(world), instant(world, LATER))
        return "gone when it is done again"
    return "gone"


PUBLISHED: Final = (
    Case("Beginning to publish", lambda _: None, lambda world, _: _begin(world), _after_beginning),
    Case("Writing a token where it is published", _begun, _carried, _after_writing),
    Case("Publishing no more", _written, _ended, _after_ending),
    Case("Publishing no more and leaving what stands", _written, lambda world, _: _stop(world), _after_leaving),
)
