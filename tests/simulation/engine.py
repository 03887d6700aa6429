"""The scheduler: plans of several replicas on one virtual clock, one store, and providers that are models.

Every question of a plan is one step. What is random about a step hangs on the number of the caller whose work it is,
so that taking one caller or one fault out of a scenario leaves the others as they were.
What may not be here: how questions are answered (answers.py), what must hold (watch.py), what callers want (callers.py).
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from typing import Any, Final

from simulation.answers import PARKED, Answers
from simulation.callers import SCRIPTS, at_start
from simulation.house import Replica, Task, World
from simulation.knowledge import Violation
from simulation.scenario import REPLICAS, Caller, Hit, Scenario, Spell
from simulation.watch import Watch
from valetkey.effects import Luck, Now, Sleep
from valetkey.errors import ValetkeyError

_MASK: Final = (1 << 64) - 1
_PATIENCE: Final = 7200.0
"""Seconds after the last caller and the last fault within which all work must have ended."""


class Engine:
    """Play one scenario. `trace` takes a line for each step, if it is given."""

    def __init__(self, scenario: Scenario, *, trace: list[str] | None = None, seen: Counter[str] | None = None) -> None:
        self.scenario = scenario
        self.trace = trace
        self.seen = Counter() if seen is None else seen
        self.world = World(scenario)
        self.now = self.world.start
        self.steps = 0
        self.tasks: list[Task] = []
        self.replicas = [Replica(number, self.world, lambda: self.now) for number in range(REPLICAS)]
        self.watch = Watch(self)
        self.answers = Answers(self)
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._made: Counter[int] = Counter()
        self._hits: list[Hit] = sorted(scenario.hits, key=lambda hit: hit.k)

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────

    def push(self, at: float, action: Callable[..., None], *arguments: object) -> None:
        """Let something happen at a time."""
        self._order += 1
        heappush(self._heap, (at, self._order, action, arguments))

    def run(self) -> None:
        """Let happen all that will happen."""
        heap = self._heap
        last = self.now + self.scenario.horizon + _PATIENCE
        while heap:
            at, _order, action, arguments = heappop(heap)
            self.now = max(self.now, at)
            if at > last:
                waiting = sorted({task.title for task in self.tasks if task.alive})
                raise Violation("no_rest", f"still at work long after the last fault: {', '.join(waiting[:4])}")
            action(*arguments)

    def play(self) -> None:
        """Play the scenario up to the last caller; raises Violation."""
        for caller in self.scenario.callers:
            self.push(self.world.start + caller.at, self._arrives, caller)
        for spell in self.scenario.spells:
            self.push(self.world.start + spell.at, self.begins, spell)
        self.run()

    # ── work ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _arrives(self, caller: Caller) -> None:
        replica = self.replicas[caller.replica]
        if replica.down_until > self.now:
            self.push(replica.down_until + 0.01, self._arrives, caller)
            return
        task = self.task(replica, caller.number, caller.kind, caller.place)
        task.plan = SCRIPTS[caller.kind](self, task)
        if caller.leaves:
            self.push(self.now + caller.leaves, self._leaves, task)
        self.go(task)

    def task(self, replica: Replica, caller: int, kind: str, place: str) -> Task:
        """Return new work for a replica; it has no plan yet."""
        self._made[caller] += 1
        luck = (self.scenario.seed * 1_000_003 + caller * 101 + self._made[caller]) * 0x9E3779B97F4A7C15 & _MASK
        task = Task(caller=caller, replica=replica, kind=kind, place=place, luck=luck, started=self.now)
        self.tasks.append(task)
        replica.tasks.append(task)
        return task

    def join(self, waiting: Task, key: Hashable, kind: str, make: Callable[[Task], Any]) -> None:
        """Let a caller wait for work that outlives it; start the work if nobody has (vault/flights.py)."""
        replica = waiting.replica
        flight = replica.flights.get(key)
        if flight is None:
            flight = self.task(replica, waiting.caller, kind, waiting.place)
            if self._hits:
                flight.hits = self._hits_on(flight.place)
            flight.key = key
            flight.plan = make(flight)
            replica.flights[key] = flight
            flight.waiters.append(waiting)
            self.go(flight)
        else:
            flight.waiters.append(waiting)

    def _hits_on(self, place: str) -> list[Hit]:
        """Take the faults that are meant for work that begins now."""
        since = self.now - self.world.start
        found = [hit for hit in self._hits if hit.place == place and hit.at <= since]
        self._hits = [hit for hit in self._hits if hit not in found]
        return found

    def _leaves(self, task: Task) -> None:
        """Let a caller lose patience; what it waited for goes on."""
        if task.alive:
            self.seen["caller left"] += 1
            self.tell(task, "leaves")
            self.drop(task)

    def drop(self, task: Task) -> None:
        """End a task without a word, as a crash does."""
        task.alive = False
        task.plan.close()

    def go(self, task: Task, value: object = None, error: ValetkeyError | None = None) -> None:
        """Give a plan its answer, and go on until it asks something that takes time."""
        plan = task.plan
        while task.alive:
            try:
                question = plan.send(value) if error is None else plan.throw(error)
            except StopIteration as end:
                self._ended(task, end.value, None)
                return
            except ValetkeyError as refusal:
                self._ended(task, None, refusal)
                return
            except Violation:
                raise
            except Exception as broken:
                raise Violation("plan_broke", f"{task.title}: {broken!r}") from broken
            task.question = question
            delay = self._delay(task, question)
            if delay:
                self.push(self.now + delay, self.wake, task)
                return
            value, error = self._answered(task)
            if value is PARKED:
                return

    def wake(self, task: Task) -> None:
        """Answer what a task has asked some time ago."""
        if task.alive:
            value, error = self._answered(task)
            if value is not PARKED:
                self.go(task, value, error)

    def _answered(self, task: Task) -> tuple[object, ValetkeyError | None]:
        self.steps += 1
        try:
            value = self.answers.of(task, task.question)
        except ValetkeyError as refusal:
            if self.trace is not None:
                self.tell(task, f"{self.answers.words(task.question)} → {type(refusal).__name__}")
            return None, refusal
        if self.trace is not None:
            self.tell(task, self.answers.words(task.question, None if value is PARKED else value))
        return value, None

    def _delay(self, task: Task, question: object) -> float:
        """Return how long a question takes: clocks and luck mostly nothing, the store some milliseconds."""
        kind = type(question)
        draw = task.draw()
        if kind is Now or kind is Luck:
            return 0.0 if draw & 7 else 0.002
        if kind is Sleep:
            return question.seconds + (draw & 0xFF) * 1e-5
        return 1e-4 + (draw & 0xFFFF) * 1e-7

    def _ended(self, task: Task, value: object, refusal: ValetkeyError | None) -> None:
        task.alive = False
        if self.trace is not None:
            self.tell(task, f"ends: {self.answers.outcome(value, refusal)}")
        self.watch.ended(task, value, refusal)
        if task.key is not None:
            del task.replica.flights[task.key]
            for waiting in task.waiters:
                if waiting.alive:
                    waiting.given = value
                    self.push(self.now, self.go, waiting, value, refusal)

    # ── what befalls them ─────────────────────────────────────────────────────────────────────────────────────

    def begins(self, spell: Spell) -> None:
        """Let a lasting fault begin."""
        self.seen[f"fault {spell.kind}"] += 1
        if self.trace is not None:
            self.trace.append(f"{self.clock()}  ⚡ {spell.kind} {self.answers.spell(spell)}")
        if spell.kind == "crash":
            for replica in self.replicas if spell.replica < 0 else [self.replicas[spell.replica]]:
                self.crash(replica, spell.seconds)
        elif spell.kind == "clock":
            self.replicas[spell.replica].skew += spell.amount
            self.watch.skewed(max(abs(replica.skew) for replica in self.replicas))
        elif spell.kind == "person":
            self.watch.withdrawn(spell.place)
        else:
            self.answers.spells.append(spell)
            self.push(self.now + spell.seconds, self._passes, spell)

    def _passes(self, spell: Spell) -> None:
        self.answers.spells.remove(spell)
        if self.trace is not None:
            self.trace.append(f"{self.clock()}    {spell.kind} is over")

    def crash(self, replica: Replica, seconds: float) -> None:
        """Drop all work of a replica where it stands; it starts again after a while, and knows nothing."""
        self.seen["crashed replica"] += 1
        if self.trace is not None:
            self.trace.append(f"{self.clock()}  ⚡ replica {replica.number} crashes")
        for task in replica.tasks:
            if task.alive:
                self.watch.crashed(task)
                self.drop(task)
        replica.tasks.clear()
        replica.flights.clear()
        replica.secrets.clear()
        replica.opened = False
        replica.down_until = self.now + seconds
        self.push(replica.down_until, self._starts, replica)

    def _starts(self, replica: Replica) -> None:
        if replica.down_until <= self.now:
            self.start(replica)

    def start(self, replica: Replica) -> None:
        """Let a replica begin as a new process does: by bringing home what was spilled."""
        if not replica.opened:
            replica.open()
        task = self.task(replica, -1 - replica.number, "start", "")
        task.plan = at_start(self, task)
        self.go(task)

    # ── words ─────────────────────────────────────────────────────────────────────────────────────────────────

    def clock(self) -> str:
        """Return the time as a trace shows it: seconds since the start."""
        return f"{self.now - self.world.start:12.3f}"

    def tell(self, task: Task, what: str) -> None:
        """Write a line of the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.clock()}  r{task.replica.number} {task.title:<24} {what}")


def calm_collector() -> None:
    """Let the collector of garbage look less often: an episode is dropped whole, and it finds little."""
    gc.set_threshold(50_000, 50, 50)
