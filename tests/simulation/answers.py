"""How the questions of plans are answered: by the store, the clock and the provider, with the faults that strike them.

What may not be here: when a question is asked (engine.py), whether an answer was right (watch.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from simulation.house import Task, moment, secret_at
from simulation.keys import Rekey, quietly, readable
from simulation.scenario import Hit, Spell
from simulation.words import outcome, spell, words
from valetkey.effects import Effect, Load, Luck, Note, Now, Resolve, Resolved, Send, Sleep, Spill, Spilled, Swap
from valetkey.errors import ManagerUnavailable, ProviderTimeout, ProviderUnavailable, StoreUnavailable
from valetkey.managers.resolver import REFETCH_SECONDS, REMEMBERED_SECONDS
from valetkey.values import Request, Response
from valetkey.vault.names import CONNECTIONS, NOTICES

if TYPE_CHECKING:
    from simulation.engine import Engine

PARKED: Final = object()
"""The answer comes later, or never."""

_FITS: Final[dict[str, tuple[type, ...]]] = {
    "disk_full": (Send,),
    "swap_unsure": (Swap,),
    "swap_fails": (Swap,),
    "load_fails": (Load,),
    "note_fails": (Note,),
}
_SENDS: Final = frozenset(
    {"lost", "late", "error_before", "error_after", "busy", "html_before", "html_after", "unsent"}
)
_HTML: Final = Response(200, {"content-type": "text/html"}, b"<html><body>Scheduled maintenance</body></html>")
_BROKEN: Final = Response(502, {"content-type": "text/html"}, b"<html><body>Bad gateway</body></html>")
_BUSY: Final = Response(429, {"retry-after": "90"}, b"")
_CLIENT: Final = Response(401, {"content-type": "application/json"}, b'{"error":"invalid_client"}')
_INSTEAD: Final = {"error_before": _BROKEN, "busy": _BUSY, "html_before": _HTML}
_AFTER: Final = {"error_after": _BROKEN, "html_after": _HTML}


@dataclass(frozen=True)
class Join:
    """Ask to wait for work that outlives whoever asks; the one question that is the simulation's own."""

    key: tuple[object, ...]
    kind: str
    make: Callable[[Task], Any]


@dataclass(eq=False)
class Exchange:
    """Be one request on its way. `ghost`: its sender has been told already that no answer came."""

    task: Task
    request: Request
    fault: str
    back: float
    deadline: float
    late: bool = False
    ghost: bool = False


class Answers:
    """Answer questions for the engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.spells: list[Spell] = []
        self._by_kind: dict[type, Callable[[Task, Any], Any]] = {
            Load: self._load,
            Swap: self._swap,
            Now: self._now,
            Luck: self._luck,
            Sleep: self._sleep,
            Note: self._note,
            Send: self._send,
            Spill: self._spill,
            Spilled: lambda task, question: quietly(task.replica.keys, task.replica.folder.get(question.name)),
            Resolve: self._resolve,
            Join: self._join,
            Rekey: self._rekey,
        }

    def of(self, task: Task, question: Effect | Join | Rekey) -> Any:
        """Return the answer, or PARKED; raises what a plan may be told."""
        task.k += 1
        hit = self._struck(task, question) if task.hits else None
        if hit is None:
            return self._by_kind[type(question)](task, question)
        return self._hurt(task, question, hit)

    def _struck(self, task: Task, question: Effect | Join | Rekey) -> Hit | None:
        for hit in task.hits:
            if hit.k > task.k:
                return None
            kinds = (Send,) if hit.kind in _SENDS else _FITS.get(hit.kind)
            if kinds is None or isinstance(question, kinds):
                task.hits.remove(hit)
                self.engine.seen[f"fault {hit.kind}"] += 1
                self.engine.tell(task, f"⚡ {hit.kind}")
                return hit
        return None

    def _hurt(self, task: Task, question: Effect | Join | Rekey, hit: Hit) -> Any:
        engine = self.engine
        if hit.kind in _SENDS:
            return self._send(task, question, hit)
        if hit.kind == "stall":
            task.k -= 1
            engine.watch.stalled(task)
            engine.push(engine.now + hit.seconds, engine.wake, task)
            return PARKED
        if hit.kind == "disk_full":
            where = task.replica.number if int(hit.seconds) & 1 else -1
            engine.begins(Spell("store_readonly", engine.now, hit.seconds, where))
            return self._send(task, question)
        if hit.kind in {"swap_fails", "load_fails", "note_fails"}:
            raise self._down(task, "the disk did not answer")
        answer = None
        if hit.kind != "crash_before":
            answer = self._by_kind[type(question)](task, question)
        if hit.kind == "swap_unsure":
            raise self._down(task, "the connection was lost; nobody knows whether it was written")
        for replica in engine.replicas if hit.kind == "crash_all" else [task.replica]:
            engine.crash(replica, 0.5 + hit.seconds / 10)
        return answer if task.alive else PARKED

    def _down(self, task: Task, why: str) -> StoreUnavailable:
        self.engine.watch.store_failed(task)
        return StoreUnavailable(why)

    def _under(self, task: Task, kinds: frozenset[str]) -> bool:
        """Say whether a spell lies on this task's replica."""
        return any(spell.kind in kinds and spell.replica in {-1, task.replica.number} for spell in self.spells)

    # ── the store, the log, the clock ─────────────────────────────────────────────────────────────────────────

    def _load(self, task: Task, question: Load) -> Any:
        if self.spells and self._under(task, _UNREADABLE):
            raise self._down(task, "the store is down")
        if question.name.startswith(CONNECTIONS):
            task.loaded_at = self.engine.now
        return task.replica.store.load(question.name)

    def _swap(self, task: Task, question: Swap) -> bool:
        if self.spells and self._under(task, _UNWRITABLE):
            raise self._down(task, "the store cannot be written")
        done = task.replica.store.swap(question.name, question.seen, question.entry)
        if done and question.name.startswith(CONNECTIONS):
            self.engine.watch.committed(task, question)
        elif done and question.name.startswith(NOTICES):
            self.engine.watch.news.committed(task, question)
        return done

    def _rekey(self, task: Task, question: Rekey) -> bytes:
        if self.spells and self._under(task, _UNWRITABLE):
            raise self._down(task, "the store cannot be written")
        engine, keys = self.engine, task.replica.keys
        if question.kind == "renew":
            engine.world.resealed = (b"", 0.0)
            return keys.renew()
        keys.retire(question.old)
        engine.seen["keys retired"] += len(question.old)
        readable(engine.world.store, engine.world.all_names(), engine.now + task.replica.skew)
        return b""

    def _note(self, task: Task, question: Note) -> None:
        if self.spells and self._under(task, _UNLOGGED):
            raise self._down(task, "the log cannot be written")
        self.engine.seen[f"log {question.event.kind}"] += 1

    def _now(self, task: Task, _question: Now) -> Any:
        task.now_at = self.engine.now
        return moment(self.engine.now + task.replica.skew)

    def _luck(self, task: Task, question: Luck) -> bytes:
        return hashlib.blake2b(task.draw().to_bytes(8), digest_size=question.size).digest()

    def _sleep(self, task: Task, _question: Sleep) -> None:
        self.engine.watch.slept(task)

    def _resolve(self, task: Task, question: Resolve) -> Resolved:
        """Answer as the resolver does: from memory for a while, and no more than so often anew."""
        engine, secrets = self.engine, task.replica.secrets
        at, secret = secrets.get(question.reference, (float("-inf"), None))
        kept = REFETCH_SECONDS if question.want == "fresh" else REMEMBERED_SECONDS
        if secret is not None and engine.now - at < kept:
            return Resolved(secret, fetched=False)
        if self._under(task, _MANAGER):
            engine.watch.struck = True
            raise ManagerUnavailable("the secret manager is sealed", sent=False)
        secret = secret_at(question.reference, engine.now)
        secrets[question.reference] = engine.now, secret
        engine.seen[f"secret {question.want}"] += 1
        return Resolved(secret)

    def _spill(self, task: Task, question: Spill) -> None:
        task.replica.folder[question.name] = question.entry
        self.engine.seen["spilled"] += 1
        self.engine.watch.spilled(task, question)

    def _join(self, task: Task, question: Join) -> Any:
        self.engine.join(task, question.key, question.kind, question.make)
        return PARKED

    # ── the provider ──────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, task: Task, question: Send, hit: Hit | None = None) -> Any:
        """Put a request on its way: reaching the provider is one event, the answer's reaching the caller another."""
        fault = hit.kind if hit is not None else ""
        if fault == "unsent":
            self.engine.watch.struck = True
            raise ProviderUnavailable("no connection could be made", sent=False)
        engine = self.engine
        draw = task.draw()
        there, back = 0.01 + (draw & 0xFFF) / 0xFFF * 0.3, 0.01 + (draw >> 12 & 0xFFF) / 0xFFF * 0.3
        if draw >> 24 & 0x1F == 0:
            back *= 20.0
        exchange = Exchange(task, question.request, fault, back, engine.now + question.request.timeout)
        if hit is not None and fault == "late":
            if draw & 1:
                there = hit.seconds  # it hangs in the network, and is obeyed long after everybody gave it up
            else:
                exchange.back, exchange.late = hit.seconds, True  # the whole process is suspended
        engine.watch.sent(task, question.request)
        engine.push(engine.now + there, self._reaches, exchange)
        if engine.now + there >= exchange.deadline:
            exchange.ghost = True
            engine.push(exchange.deadline, self._times_out, exchange)
        return PARKED

    def _reaches(self, exchange: Exchange) -> None:
        engine, task = self.engine, exchange.task
        engine.steps += 1
        weather = next((s.kind for s in self.spells if s.kind in _WEATHER and s.place.startswith(_app(task))), "")
        engine.watch.struck = engine.watch.struck or bool(weather)
        response = _INSTEAD.get(exchange.fault) or (_WEATHER[weather] if weather else None)
        if response is None and self._outdated(exchange.request):
            engine.seen["secret refused"] += 1
            response = _CLIENT
        if response is None:
            with engine.watch.serving(task, exchange):
                response = engine.world.provider(task.place).answer(exchange.request, engine.now)
            if engine.trace is not None:
                engine.trace.append(
                    f"{engine.clock()}      {task.place.partition('/')[0]}: {words(exchange.request)} → {words(response)}"
                )
            response = _AFTER.get(exchange.fault, response)
        if exchange.ghost:
            return
        arrives = engine.now + exchange.back
        if exchange.fault == "lost" or (arrives >= exchange.deadline and not exchange.late):
            engine.push(exchange.deadline, self._times_out, exchange)
        else:
            engine.push(arrives, self._arrives, exchange, response)

    def _outdated(self, request: Request) -> bool:
        """Say whether a request proves itself with a secret that was rotated away."""
        form = dict(parse_qsl(request.body.decode()))
        reference, of, _version = form.get("client_secret", "").partition(" in its version ")
        return bool(of) and form["client_secret"] != secret_at(reference, self.engine.now).reveal()

    def _arrives(self, exchange: Exchange, response: Response) -> None:
        task, engine = exchange.task, self.engine
        if task.alive:
            engine.watch.delivered(task, exchange.request, response, late=exchange.late)
            engine.tell(task, f"is answered: {words(response)}")
            engine.go(task, response)

    def _times_out(self, exchange: Exchange) -> None:
        task, engine = exchange.task, self.engine
        if task.alive:
            engine.watch.unanswered(task)
            engine.tell(task, "is not answered in time")
            engine.go(task, None, ProviderTimeout("no whole answer came in time", sent=True))

    # ── words ─────────────────────────────────────────────────────────────────────────────────────────────────

    def words(self, question: object, answer: object = None) -> str:
        """Return a question and its answer for a trace."""
        return words(question, answer, self.engine.world.desk)

    outcome = staticmethod(outcome)
    spell = staticmethod(spell)


def _app(task: Task) -> str:
    return task.place.partition("/")[0] + "/"


_UNREADABLE: Final = frozenset({"store_down"})
_UNWRITABLE: Final = frozenset({"store_down", "store_readonly"})
_MANAGER: Final = frozenset({"manager_down"})
_UNLOGGED: Final = frozenset({"store_down", "store_readonly", "log_down"})
_WEATHER: Final = {"provider_down": _BROKEN, "client_refused": _CLIENT}
