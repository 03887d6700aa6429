"""News in the simulation: who listens, how it is carried, and what must hold of it.

Told at least once whatever crashes, once where nothing fails, and never of what did not happen.
What may not be here: the rules about tokens (watch.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from simulation.answers import Join
from simulation.house import Task, moment
from simulation.knowledge import Violation
from valetkey.effects import Swap, sleep
from valetkey.vault.desk import Desk
from valetkey.vault.names import NOTICES
from valetkey.vault.notices import Notice, Outcome, settle, take
from valetkey.vault.records import Connection, from_bytes
from valetkey.vault.schedule import mood

if TYPE_CHECKING:
    from simulation.engine import Engine

Script = Generator[Any, Any, Any]

CARRIED: Final = 4
"""Notices that one look takes up."""

LATER: Final = 40_000.0
"""Seconds after which every notice that waits is due: the longest pause between two attempts, and its jitter."""


class News:
    """Remember what was put down and what was delivered; raises Violation."""

    def __init__(self, desk: Desk, seen: Counter[str]) -> None:
        self.desk = desk
        self.seen = seen
        self.moods: set[tuple[str, str]] = set()  # what was ever true of a connection
        self.put: dict[str, Notice] = {}
        self.delivered: Counter[str] = Counter()
        self.disturbed = False  # whether anything befell who carried news

    def changed(self, connection: Connection) -> None:
        """Remember what is to be told of a record as it was saved, whether somebody gets to telling it or not."""
        trouble = connection.trouble
        if trouble is not None:
            self.moods.add((connection.name, "needs_reconnect" if trouble.sort == "grant" else "failing"))

    def committed(self, task: Task, question: Swap) -> None:
        """Check what is put down to be told."""
        if question.entry is None:
            return
        notice = from_bytes(Notice, question.name, self.desk.sealer.open(question.name, question.entry.box))
        what = notice.kind.removeprefix("connection.")
        told = (notice.subject, what) in self.moods or what == "recovered"
        if not told:
            raise Violation("untrue", f"{task.title} tells that {notice.subject} is {what}, and it never was")
        if notice.identifier not in self.put:
            self.seen[f"news {what}"] += 1
        self.put[notice.identifier] = notice

    def at_rest(self, connection: Connection, now: float) -> None:
        """Check that those who listen know how a connection is."""
        felt = mood(connection, now)
        if not connection.revoked_at and connection.told != felt:
            raise Violation("untold", f"{connection.name} is {felt or 'well'}, and was told to be {connection.told}")
        if felt:
            known = {(notice.subject, notice.kind) for notice in self.put.values()}
            if (connection.name, f"connection.{felt}") not in known:
                raise Violation("untold", f"{connection.name} is {felt}, and nothing was put down")

    def befell(self, task: Task) -> None:
        """Remember that a crash, a pause or the store struck a task."""
        self.disturbed = self.disturbed or task.kind == "carry"

    def at_end(self, skew: float) -> None:
        """Check that everything was told; and nothing twice, unless something befell who told it."""
        calm = not self.disturbed and not skew
        for identifier, notice in self.put.items():
            times = self.delivered[identifier]
            self.seen["delivered once" if times == 1 else "delivered more than once"] += 1
            if not times or (calm and times > 1):
                raise Violation(
                    "untold" if not times else "told_twice", f"{notice.kind} of {notice.subject}: told {times} times"
                )


def carry(engine: Engine, task: Task) -> Script:
    """Look which news waits, and carry it: what the refresher does."""
    for record in engine.world.store.due(NOTICES, moment(engine.now + task.replica.skew), CARRIED):
        yield Join(("carry", record), "carry", lambda _, record=record: carried(engine, task, record))


def carried(engine: Engine, task: Task, record: str, *, heard: bool = False) -> Script:
    """Take up one notice, deliver it, or not, and write down what became of it."""
    desk = task.replica.desk
    errand = yield from take(desk, record)
    if errand is None:
        return False
    yield from sleep(0.2)  # the receiver takes its time; who dies here has told, and it is not known
    heard = heard or task.draw() & 3 != 0
    if heard:
        engine.watch.news.delivered[errand.notice.identifier] += 1
    return (yield from settle(desk, errand, Outcome(delivered=heard, word="http_204" if heard else "http_503")))


def tell_all(engine: Engine) -> None:
    """Let everything be told that waits, by one replica after the other."""
    for _ in range(3):
        engine.now += LATER
        for replica in engine.replicas:
            for record in engine.world.store.due(NOTICES, moment(engine.now), 1000):
                task = engine.task(replica, -20, "carry", "")
                task.plan = carried(engine, task, record, heard=True)
                engine.go(task)
                engine.run()
    engine.watch.news.at_end(engine.watch.truth.skew)
