"""What a plan may ask of the world, and nothing else.

A plan is a generator: it yields one of these questions and is sent the answer. `run.py` holds the only two
loops that answer them for real; tests answer by hand, and the simulation answers from a seed.

Six questions carry the design; four more are argued for where they stand:

    Send(request)              -> Response       raises Weather
    Load(name)                 -> Entry | None   raises StoreUnavailable
    Swap(name, seen, entry)    -> bool           raises StoreUnavailable
    Sleep(seconds)             -> None
    Now()                      -> datetime (aware, UTC)
    Note(event)                -> None           raises StoreUnavailable: what must be durable first, is
    Luck(bytes)                -> bytes          random bytes
    Spill(name, entry)         -> None           the store is down and a token is in our hands
    Spilled(name)              -> Entry | None   what was spilled of a record and has not come home
    Resolve(reference, want)   -> Resolved       raises ManagerRefused, ManagerUnavailable, InvalidInput

All are Structs and no dataclasses: one is made for every token handed out, which takes a fifth of the time, and the
classes are made at each start of the command line, which takes a tenth.

A plan is written with the typed words below (`entry = yield from load(name)`), which hide the `Any` that
Python's generators would otherwise show.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from valetkey.values import EMPTY, Entry, Request, Response, Secret

T = TypeVar("T")


class Event(msgspec.Struct, frozen=True):
    """Be something that happened, for the audit log. Nothing in it is secret.

    `kind` is `noun.verb` ("refresh.started"); `outcome` is ok, refused, failed or unknown.
    """

    kind: str
    subject: str
    outcome: str = "ok"
    reason: str = ""
    detail: Mapping[str, str] = EMPTY


class Send(msgspec.Struct, frozen=True):
    """Ask for a request to be sent, over valetkey's own transport and never through a user's client."""

    request: Request


class Load(msgspec.Struct, frozen=True):
    """Ask for a record as the store holds it now."""

    name: str


class Swap(msgspec.Struct, frozen=True):
    """Ask to put `entry` in the place of the version `seen` (0: no such record), or to forget it (None).

    The answer is whether that version was still there.
    """

    name: str
    seen: int
    entry: Entry | None


class Sleep(msgspec.Struct, frozen=True):
    """Ask to be woken after `seconds`."""

    seconds: float


class Now(msgspec.Struct, frozen=True):
    """Ask for the time."""


class Note(msgspec.Struct, frozen=True):
    """Ask for an event to be written to the audit log, durably, before going on."""

    event: Event


class Luck(msgspec.Struct, frozen=True):
    """Ask for random bytes.

    Needed beside the six: `state`, PKCE verifiers and the names of leases are decided inside plans, and a plan
    that called `secrets` itself could not be replayed from a seed.
    """

    size: int


class Spill(msgspec.Struct, frozen=True):
    """Ask to keep a sealed entry outside the store, until the store can be written again.

    Needed beside the six: a rotated refresh token that cannot be saved is lost for good (see docs/vault.md), so
    there must be one more place to put it. Picked up by the next start.
    """

    name: str
    entry: Entry


class Spilled(msgspec.Struct, frozen=True):
    """Ask for the entry that was spilled of a record, if there is one.

    Needed beside the six: who waits for a refresh that spilled its answer would otherwise spend the same refresh token
    again as soon as the lease has lapsed, and end the grant where reuse is punished. The simulation found it.
    """

    name: str


Want: TypeAlias = Literal["remembered", "fresh", "previous"]
"""How a secret is wanted: as it was found a moment ago; as its manager has it now, because what we had was refused; or
as it was before its last rotation, where the manager keeps that (AWSPREVIOUS)."""


class Resolve(msgspec.Struct, frozen=True):
    """Ask for the secret that a reference leads to, in a file, a variable or a secret manager.

    Needed beside the six: a manager is asked with its own login, libraries and time-outs, and what it answers is
    remembered between plans, so it is no `Send`; and it must be asked from inside a plan, because whether a secret is
    fetched anew is decided by what a provider answers in the middle of one. The simulation lets it fail and change.
    """

    reference: str
    want: Want = "remembered"


class Resolved(msgspec.Struct, frozen=True):
    """Be the secret behind a reference. `fetched` says that its manager was asked just now."""

    secret: Secret
    fetched: bool = True


Effect: TypeAlias = Send | Load | Swap | Sleep | Now | Note | Luck | Spill | Spilled | Resolve
Plan: TypeAlias = Generator[Effect, Any, T]


def send(request: Request) -> Plan[Response]:
    """Send a request; raises Weather."""
    answer: Response = yield Send(request)
    return answer


def load(name: str) -> Plan[Entry | None]:
    """Load a record; raises StoreUnavailable."""
    entry: Entry | None = yield Load(name)
    return entry


def swap(name: str, seen: int, entry: Entry | None) -> Plan[bool]:
    """Compare and set on the version; raises StoreUnavailable."""
    done: bool = yield Swap(name, seen, entry)
    return done


def sleep(seconds: float) -> Plan[None]:
    """Wait."""
    yield Sleep(seconds)


def now() -> Plan[datetime]:
    """Read the clock (aware, UTC)."""
    moment: datetime = yield Now()
    return moment


def note(kind: str, subject: str, outcome: str = "ok", reason: str = "", **detail: str) -> Plan[None]:
    """Write an event to the audit log before going on; raises StoreUnavailable."""
    yield Note(Event(kind, subject, outcome, reason, detail or EMPTY))


def luck(size: int) -> Plan[bytes]:
    """Draw random bytes."""
    drawn: bytes = yield Luck(size)
    return drawn


def spill(name: str, entry: Entry) -> Plan[None]:
    """Keep an entry outside the store."""
    yield Spill(name, entry)


def spilled(name: str) -> Plan[Entry | None]:
    """Return what was spilled of a record, or None."""
    entry: Entry | None = yield Spilled(name)
    return entry


def resolve(reference: str, want: Want = "remembered") -> Plan[Resolved]:
    """Return the secret behind a reference; raises ManagerRefused, ManagerUnavailable, InvalidInput."""
    answer: Resolved = yield Resolve(reference, want)
    return answer
