"""What happens in one episode, drawn from a seed: connections, callers, faults. Data only, so that it can be shrunk.

A caller or a fault can be taken out without moving the others: what each of them draws hangs on its own number.
What may not be here: the world that plays it (engine.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

from simulation.manners import MANNERS

REPLICAS: Final = 3

CALLERS: Final = {
    "token": 50,
    "target": 7,
    "force": 9,
    "rejected": 8,
    "connect": 6,
    "connect_twice": 2,
    "device": 2,
    "disconnect": 2,
    "revoke": 1,
    "sweep": 2,
    "keep": 20,
    "carry": 3,
}
"""What callers want, and how often."""

REKEYS: Final = ("reseal", "retire")
"""What somebody does with the data keys, in one episode of seven."""

HITS: Final = {
    "crash_before": 5,
    "crash_after": 9,
    "crash_all": 3,
    "lost": 6,
    "late": 4,
    "error_before": 3,
    "error_after": 4,
    "busy": 2,
    "html_before": 2,
    "html_after": 2,
    "unsent": 2,
    "disk_full": 6,
    "swap_unsure": 6,
    "swap_fails": 3,
    "load_fails": 2,
    "note_fails": 2,
    "stall": 4,
}
"""Faults that strike one caller's work at one of its questions, and how often."""

SPELLS: Final = {
    "store_down": 4,
    "store_readonly": 6,
    "log_down": 3,
    "provider_down": 4,
    "client_refused": 2,
    "manager_down": 3,
    "crash": 3,
    "clock": 4,
    "person": 2,
}
"""Faults that begin at a time and last, and how often."""


@dataclass(frozen=True)
class Place:
    """Be one connection of the episode."""

    name: str
    manner: str
    machine: bool = False
    known: bool = True  # whether the catalogue knows the manner
    odd: bool = False  # whether some answers hold members that cannot be read
    connected: bool = True
    elsewhere: bool = False  # whether the app's secret is kept in a secret manager, and rotated there

    @property
    def app(self) -> str:
        """Return the name of its app."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Caller:
    """Be somebody who wants something, at a time (seconds from the start), of one replica. `leaves` 0: stays."""

    number: int
    at: float
    replica: int
    kind: str
    place: str
    leaves: float = 0.0


@dataclass(frozen=True)
class Hit:
    """Be a fault at the first fitting question from the k-th on, of the first work for a place that begins after `at`.

    `disk_full` begins while a request is under way, and lasts; the others are over when they have struck.
    """

    kind: str
    at: float
    place: str
    k: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Spell:
    """Be a fault that begins at a time. `amount` is seconds of clock, `place` a connection, replica -1 is all."""

    kind: str
    at: float
    seconds: float = 0.0
    replica: int = -1
    amount: float = 0.0
    place: str = ""


@dataclass(frozen=True)
class Scenario:
    """Be one episode. `shared` says whether the replicas are processes of one machine, with one spill folder."""

    seed: int
    places: tuple[Place, ...]
    callers: tuple[Caller, ...]
    hits: tuple[Hit, ...] = ()
    spells: tuple[Spell, ...] = ()
    shared: bool = True
    sealed: bool = False  # with the real AES-GCM, not the stand-in

    @property
    def horizon(self) -> float:
        """Return when the last caller has come and the last fault has passed."""
        times = [caller.at for caller in self.callers] + [spell.at + spell.seconds for spell in self.spells]
        return max(times, default=0.0)


def _weighed(rng: random.Random, table: dict[str, int]) -> str:
    return rng.choices(list(table), list(table.values()))[0]


def generate(seed: int) -> Scenario:
    """Draw an episode."""
    rng = random.Random(seed)
    places = _places(rng)
    life = min(MANNERS[place.manner].access for place in places)
    bursts = sorted(_bursts(rng, life))
    callers = _callers(rng, places, bursts)
    rekeyers, stalls = _rekeyers(random.Random(seed ^ 0x5EA1), places, bursts, len(callers))
    callers += rekeyers
    calm = rng.random() < 0.1
    hits: tuple[Hit, ...] = ()
    spells: tuple[Spell, ...] = ()
    if not calm:
        hits = (*(_hit(rng, bursts, places) for _ in range(rng.choice((0, 1, 2, 3, 5, 8)))), *stalls)
        spells = tuple(_spell(rng, bursts, places) for _ in range(rng.choice((0, 0, 1, 2, 3))))
    return Scenario(
        seed=seed,
        places=places,
        callers=tuple(callers),
        hits=hits,
        spells=spells,
        shared=rng.random() < 0.7,
        sealed=rng.random() < 0.02,
    )


def _places(rng: random.Random) -> tuple[Place, ...]:
    """Return one to three connections; some share their app, and so their provider."""
    places: list[Place] = []
    for number in range(rng.choice((1, 1, 2, 3))):
        if places and rng.random() < 0.5:
            places.append(replace(places[-1], name=f"{places[-1].app}/c{number}"))
            continue
        manner = rng.choice(list(MANNERS))
        name = f"{manner.replace('_', '-')}-{number}/c{number}"
        place = Place(
            name=name,
            manner=manner,
            machine=rng.random() < 0.1,
            known=rng.random() < 0.7,
            odd=rng.random() < 0.15,
            connected=rng.random() < 0.92,
            elsewhere=sum(name.encode()) % 2 == 0,  # not drawn, so that a seed stays what it was
        )
        places.append(place)
    return tuple(places)


def _bursts(rng: random.Random, life: float) -> list[float]:
    """Return the times at which callers come together: half of them where a token is about to expire."""
    times = []
    for _ in range(rng.randint(3, 8)):
        if rng.random() < 0.5:
            times.append(rng.randint(1, 4) * life - rng.choice((0.0, 0.001, 0.05, 0.09, 0.5)) * life * rng.random())
        else:
            times.append(rng.random() * 4 * life)
    return times


def _callers(rng: random.Random, places: tuple[Place, ...], bursts: list[float]) -> list[Caller]:
    callers: list[Caller] = []
    for burst in bursts:
        width = rng.choice((0.01, 0.5, 5.0, 40.0))
        place = rng.choice(places)
        for _ in range(rng.randint(1, 7)):
            caller = Caller(
                number=len(callers) + 1,
                at=burst + width * rng.random(),
                replica=rng.randrange(REPLICAS),
                kind=_weighed(rng, CALLERS),
                place=place.name if rng.random() < 0.8 else rng.choice(places).name,
                leaves=rng.random() * 3.0 if rng.random() < 0.25 else 0.0,
            )
            callers.append(caller)
    return callers


def _rekeyers(
    rng: random.Random, places: tuple[Place, ...], bursts: list[float], number: int
) -> tuple[list[Caller], list[Hit]]:
    """Return who changes the data keys, amid what the others do; drawn apart, so that a seed stays what it was.

    And who stands still meanwhile, with something in his hands that is sealed with a key that may be retired by then.
    """
    callers: list[Caller] = []
    stalls: list[Hit] = []
    if rng.random() >= 1 / 7:
        return callers, stalls
    for _ in range(rng.choice((1, 1, 2))):
        at = max(0.0, rng.choice(bursts) + rng.uniform(-2.0, 2.0))
        replica = rng.randrange(REPLICAS)
        after = [rng.choice((75.0, 110.0, 200.0, 400.0)) * rng.uniform(1.0, 1.2) for _ in range(rng.choice((0, 1, 2)))]
        for kind, moment in (("reseal", at), *(("retire", at + later) for later in after)):
            callers.append(Caller(number + len(callers) + 1, moment, replica, kind, places[0].name))
            replica = rng.randrange(REPLICAS)
        if rng.random() < 0.5:
            stalls.append(
                Hit("stall", at - 5.0, rng.choice(places).name, rng.randint(1, 10), rng.uniform(150.0, 500.0))
            )
    return callers, stalls


def _hit(rng: random.Random, bursts: list[float], places: tuple[Place, ...]) -> Hit:
    kind = _weighed(rng, HITS)
    seconds = rng.choice((5.0, 31.0, 46.0, 60.0, 200.0)) * rng.uniform(0.9, 1.1)
    return Hit(kind, rng.choice(bursts) - 0.01, rng.choice(places).name, rng.randint(1, 16), seconds)


def _spell(rng: random.Random, bursts: list[float], places: tuple[Place, ...]) -> Spell:
    kind = _weighed(rng, SPELLS)
    seconds = rng.choice((0.1, 1.0, 5.0, 12.0, 60.0)) * rng.uniform(0.5, 1.5)
    amount = rng.choice((0.5, 20.0, 50.0, 600.0, 7200.0)) * rng.choice((1.0, -1.0))
    return Spell(
        kind=kind,
        at=max(0.0, rng.choice(bursts) + rng.uniform(-1.0, 3.0)),
        seconds=seconds,
        replica=-1 if kind in {"crash", "store_down"} and rng.random() < 0.4 else rng.randrange(REPLICAS),
        amount=amount,
        place=rng.choice(places).name,
    )
