"""Bugs planted into the vault, one at a time: the simulation must catch each, or it proves little.

Each replaces names of the real modules while it is planted; a name that is gone is an error, so that no bug is planted
beside the code. One (the refresh that dies with its caller) is planted into the scheduler, whose part of flights.py
it is. What may not be here: bugs that nobody would write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from unittest.mock import patch

import msgspec

from simulation import keys
from simulation.engine import Engine
from simulation.house import Task
from simulation.play import Result, play_many
from valetkey.effects import load, note, now, sleep, swap
from valetkey.errors import BadAnswer, GrantRefused, StoreUnavailable, Weather
from valetkey.vault import judge, notices, recover, renew, saving, schedule
from valetkey.vault.judge import Wait, token_of
from valetkey.vault.livekeys import LiveKeys
from valetkey.vault.records import Connection, Lease, owner_of


@dataclass(frozen=True)
class Mutant:
    """Be a bug: what it is called, what it is, and which names it replaces by what.

    `seed` is one by which a short run meets it, where the instant in which it shows is rare. The docs tell of seed 1.
    """

    name: str
    about: str
    planted: tuple[tuple[Any, str, Any], ...]
    seed: int = 1


@contextmanager
def plant(mutant: Mutant) -> Iterator[None]:
    """Have a bug in the code for a while; raises AttributeError if what it replaces is not there."""
    with ExitStack() as stack:
        for owner, name, value in mutant.planted:
            stack.enter_context(patch.object(owner, name, value))
        yield


def caught(mutant: Mutant, seed: int, steps: int) -> Result:
    """Play with a bug until something does not hold."""
    with plant(mutant):
        return play_many(seed, steps)


def _spoilt_by_oddities(read: Callable[..., Any]) -> Callable[..., Any]:
    def reading(*args: Any, **kwargs: Any) -> Any:
        answer = read(*args, **kwargs)
        if answer.oddities:
            raise BadAnswer("expires_in is no number")
        return answer

    return reading


def _weather_for_good(read: Callable[..., Any]) -> Callable[..., Any]:
    def reading(*args: Any, **kwargs: Any) -> Any:
        try:
            return read(*args, **kwargs)
        except Weather as passing:
            raise GrantRefused(passing.message) from passing

    return reading


def _told_first(keep: Callable[..., Any]) -> Callable[..., Any]:
    def keeping(desk: Any, version: int, renewed: Any, *, replaces: bool = False) -> Any:
        yield from note("refresh.answered", renewed.name)
        return (yield from keep(desk, version, renewed, replaces=replaces))

    return keeping


def _kept_once(desk: Any, version: int, renewed: Any, *, replaces: bool = False) -> Any:
    del replaces
    moment = (yield from now()).timestamp()
    if not (yield from swap(f"connection/{renewed.name}", version, desk.seal_connection(renewed, moment))):
        raise StoreUnavailable("somebody was faster")
    return renewed


def _forgets(token_set: Callable[..., Any]) -> Callable[..., Any]:
    def making(answer: Any, moment: float, asked: Any, before: Any) -> Any:
        return msgspec.structs.replace(token_set(answer, moment, asked, before), refresh=answer.refresh_token)

    return making


def _deletes(failed: Callable[..., Any]) -> Callable[..., Any]:
    def failing(claim: Any, refusal: Any, fallback: Any) -> Any:
        if isinstance(refusal, GrantRefused):
            yield from swap(claim.record, claim.version, None)
        return (yield from failed(claim, refusal, fallback))

    return failing


def _waits(judged: Callable[..., Any]) -> Callable[..., Any]:
    def judging(connection: Any, moment: float, demand: Any) -> Any:
        verdict = judged(connection, moment, demand)
        open_elsewhere = connection.intent is not None and connection.intent.fate == "open"
        return Wait(1.0) if open_elsewhere and isinstance(verdict, judge.Renew) else verdict

    return judging


def _never_home(desk: Any, record: str, spilled: Any) -> Any:
    yield from now()
    del desk, record, spilled
    return False


def _nothing_spilled(name: str, entry: Any) -> Any:
    yield from now()
    del name, entry


def _undying(tokens: Any, moment: float, demand: Any) -> Any:
    del moment, demand
    return None if tokens is None else token_of(tokens)


def _tells_later(desk: Any, name: str) -> Any:
    """Say first that it was told, and put it down then."""
    record = f"connection/{name}"
    entry = yield from load(record)
    if entry is None:
        return ""
    connection = desk.connection(name, entry)
    moment = (yield from now()).timestamp()
    felt = schedule.mood(connection, moment)
    if felt == connection.told or connection.lease is not None:
        return ""
    told = msgspec.structs.replace(connection, told=felt)
    yield from swap(record, entry.version, desk.seal_connection(told, moment))
    news = schedule.state_news(connection, felt, moment)
    yield from schedule.publish(desk, news)
    return news.kind


def _keeps_the_old(with_tokens: Callable[..., Any]) -> Callable[..., Any]:
    def placing(before: Any, answer: Any, moment: float, part: str = "") -> Any:
        placed = with_tokens(before, answer, moment, part)
        return placed if owner_of(part) == part else msgspec.structs.replace(placed, tokens=before.tokens)

    return placing


def _held_by_all(connection: Connection, part: str) -> Any:
    return connection.tokens if not part or part in connection.parts else None


def _looks_nowhere(_desk: Any, _record: str) -> Any:
    yield from now()
    return False


def _leave_with_all(engine: Engine, task: Task) -> None:
    if not task.alive:
        return
    engine.drop(task)
    for key, flight in list(task.replica.flights.items()):
        if not any(waiting.alive for waiting in flight.waiters):
            engine.drop(flight)
            del task.replica.flights[key]


def _sealed_over(desk: Any, name: str) -> Any:
    """Seal what was read anew, and write it over whatever is there by then."""
    entry = yield from load(name)
    if entry is None or name.startswith("pending/") or desk.sealer.is_current(entry.box):
        return "current"
    anew = replace(entry, box=desk.sealer.sealed_anew(name, entry.box))
    yield from sleep(0.3)
    newest = yield from load(name)
    if newest is not None:
        yield from swap(name, newest.version, anew)
    return "sealed"


MUTANTS: Final = (
    Mutant("no lease", "a claim keeps nobody out", ((renew, "Lease", lambda owner, _: Lease(owner, 0.0)),)),
    Mutant(
        "no fencing",
        "a late answer is saved over whatever is there",
        ((saving, "newer", lambda *_: False), (saving, "merged", lambda _, renewed: renewed)),
    ),
    Mutant(
        "save after judging",
        "an odd member beside the token makes the answer a bad one",
        ((renew, "read_token", _spoilt_by_oddities(renew.read_token)),),
        seed=3,
    ),
    Mutant(
        "log before save", "the log is told of the answer first", ((renew, "keep", _told_first(renew.keep)),), seed=13
    ),
    Mutant(
        "refresh in the caller's task",
        "a caller that leaves takes the refresh with it",
        ((Engine, "_leaves", _leave_with_all),),
        seed=15,
    ),
    Mutant("save not retried", "an answer is saved at the first attempt or not", ((renew, "keep", _kept_once),)),
    Mutant("nothing spilled", "an answer that cannot be saved is dropped", ((saving, "spill", _nothing_spilled),)),
    Mutant(
        "spill never brought home",
        "what was spilled stays where it is",
        ((recover, "recover", _never_home), (renew, "recover", _never_home)),
    ),
    Mutant(
        "spill over newer",
        "what was spilled is saved over whatever is there",
        ((recover, "_outdated", lambda *_: False), (recover, "merged", lambda _, kept: kept)),
        seed=18,
    ),
    Mutant("no intent", "nothing says that a token is about to be spent", ((renew, "Intent", lambda **_: None),)),
    Mutant(
        "refresh token dropped",
        "an answer without a refresh token leaves none",
        ((renew, "token_set", _forgets(renew.token_set)),),
    ),
    Mutant("deletes", "invalid_grant removes the record", ((renew, "_failed", _deletes(renew._failed)),)),
    Mutant("waits for ever", "an open intent is waited for, lease or not", ((renew, "judge", _waits(renew.judge)),)),
    Mutant(
        "weather is final",
        "a 503 is taken for invalid_grant",
        ((renew, "read_token", _weather_for_good(renew.read_token)),),
    ),
    Mutant(
        "nobody looks beside the store",
        "what was spilled is found at a start only, not before its predecessor is spent again",
        ((renew, "_came_home", _looks_nowhere),),
        seed=359,
    ),
    Mutant(
        "target's refresh token dropped",
        "the refresh token that came with another target's token does not replace the old one",
        ((renew, "with_tokens", _keeps_the_old(renew.with_tokens)),),
    ),
    Mutant(
        "targets mixed up",
        "who wants the token of another target is given the connection's own",
        ((Connection, "held", _held_by_all),),
    ),
    Mutant(
        "told before it is put down",
        "a record says that its trouble was told, and then the news is put down",
        ((schedule, "tell", _tells_later),),
        seed=454,
    ),
    Mutant(
        "news taken up by all",
        "a notice that one replica carries is free for the next",
        ((notices, "CARRY_SECONDS", 0.0),),
        seed=2,
    ),
    Mutant("expiry ignored", "a token is handed out after its end", ((judge, "_alive", _undying),)),
    Mutant(
        "unknown key is damage",
        "a process does not look for the key of a record it cannot open",
        ((LiveKeys, "known", lambda _, entry: entry),),
    ),
    Mutant(
        "sealed over newer",
        "a reseal writes what it has read over what was written meanwhile",
        ((keys, "seal_anew", _sealed_over),),
        seed=27,
    ),
)

BY_NAME: Final = {mutant.name: mutant for mutant in MUTANTS}
