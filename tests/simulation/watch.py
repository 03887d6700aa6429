"""What must hold, checked at every step that could break it, against the truth the providers keep.

What may not be here: what the vault believes of itself, other than as something to be checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from simulation.honesty import explains, unexpected
from simulation.knowledge import LEASE, Row, Spending, Violation, access_of, known_of, member, refresh_of, spent_by
from simulation.provider import AccessToken, RefreshToken
from simulation.telling import News
from simulation.truth import Truth
from valetkey.effects import Spill, Swap
from valetkey.errors import NeedsReconnect, ValetkeyError
from valetkey.values import Entry, Request, Response
from valetkey.vault.judge import Serve
from valetkey.vault.names import CONNECTIONS
from valetkey.vault.records import Connection
from valetkey.vault.schedule import Tended

if TYPE_CHECKING:
    from simulation.answers import Exchange
    from simulation.engine import Engine
    from simulation.house import Task

SLACK: Final = 3.0
"""Seconds more: a look each second, and the steps in between."""


_CONSENTS: Final = frozenset({"finish", "polling", "machine"})


class Watch:
    """Check an episode; raises Violation."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.desk = engine.world.desk
        self.rows: dict[str, Row] = {}
        self.spendings: dict[str, list[Spending]] = {}
        self.doubts: dict[str, set[str]] = {}  # by refresh token: why the vault may not know its fate
        self.truth = Truth(engine.world)
        self.news = News(self.desk, engine.seen)
        self.struck = False  # whether any fault has touched store or provider
        self._serving: Spending | None = None
        for name, provider in engine.world.providers.items():
            provider.reused = self._reused
            del name
        for name in engine.world.places:
            row = self.rows[name] = Row()
            entry = engine.world.store.load(CONNECTIONS + name)
            if entry is not None:
                row.version, row.connection = entry.version, self.desk.connection(name, entry)

    # ── the provider's side ───────────────────────────────────────────────────────────────────────────────────

    def sent(self, task: Task, request: Request) -> None:
        """Remember a request that spends a refresh token."""
        name = spent_by(request)
        known = known_of(task)
        known.since = known.since or self.engine.now
        if name:
            known.spending = Spending(name, self.engine.now, known.lease_until)
            if known.stalled:
                known.spending.trouble.add("stall")
            self.spendings.setdefault(name, []).append(known.spending)
            if known.claimed != name:
                raise Violation("unclaimed", f"{task.title} sends {name} without having claimed it")

    @contextmanager
    def serving(self, task: Task, exchange: Exchange) -> Iterator[None]:
        """Watch a provider obey a request."""
        known = known_of(task)
        self._serving = known.spending if spent_by(exchange.request) else None
        if exchange.fault in {"lost", "late", "error_after", "html_after"} and self._serving is not None:
            self._serving.trouble.add(exchange.fault)
        yield
        if self._serving is not None:
            self._serving.processed = True
        self._serving = None

    def _reused(self, token: RefreshToken) -> None:
        """Refuse that a refresh token is spent a second time, unless a fault explains it."""
        now, provider = self.engine.now, self.truth.provider(token)
        if not provider.manner.rotates:
            return
        for spending in self.spendings.get(token.name, ()):
            if spending.excused(now, 2 * self.truth.skew):
                self.engine.seen["spent twice, with an excuse"] += 1
                return
        raise Violation("spent_twice", f"{token.name} is spent again, and no fault explains it")

    def delivered(self, task: Task, request: Request, response: Response, *, late: bool) -> None:
        """Remember what an answer brought to a plan; `late`: its process was suspended, time-outs and all."""
        known = known_of(task)
        known.suspended = late
        self.struck = self.struck or response.status not in {200, 400}
        if response.status >= 500 or response.status == 429:
            self._doubt(task, "server_error")
        if response.status != 200 or not request.url.endswith("/token"):
            return
        name = member(response, "access_token")
        if not name:
            self.struck = True
            self._doubt(task, "bad_answer")
            return
        known.answers.append((self.engine.world.provider(task.place).accesses[name], known.since, known.before))

    def unanswered(self, task: Task) -> None:
        """Remember that a plan was told that no answer came."""
        self.struck = True
        known = known_of(task)
        if known.spending is not None:
            known.spending.trouble.add("lost")
        self._doubt(task, "lost")

    # ── the vault's side ──────────────────────────────────────────────────────────────────────────────────────

    def committed(self, task: Task, question: Swap) -> None:
        """Check what is now in the store."""
        name = question.name.removeprefix(CONNECTIONS)
        row, now = self.rows[name], self.engine.now
        before = row.connection
        if question.entry is None:
            if task.kind != "disconnect":
                raise Violation("deleted", f"{task.title} removed the record of {name}")
            row.removed_at, row.removed, row.connection, row.version = (
                now,
                before,
                None,
                max(row.version, question.seen),
            )
            return
        entry = self.engine.world.store.load(question.name)
        if entry is None or entry.version <= row.version:
            raise Violation("version_back", f"{name} went from version {row.version} to {entry and entry.version}")
        after = self.desk.connection(name, entry)
        row.version, row.connection = entry.version, after
        row.changed_at, row.changed_by = now, task
        if task.kind in _CONSENTS:
            row.removed = None  # a person has consented since, or consents anew
        self.news.changed(after)
        self._leased(task, row, after, before)
        self._answered_saved(task, after)
        if after.revoked_at and (before is None or not before.revoked_at):
            row.revoked_at = now
        if before is not None:
            self._compared(task, before, after)

    def _leased(self, task: Task, row: Row, after: Connection, before: Connection | None) -> None:
        lease = after.lease
        if lease is not None and lease.owner != row.owner:
            if before is not None and before.lease is not None:
                self.doubts.setdefault(refresh_of(before), set()).add("late")  # taken over from who did not finish
            row.owner, row.leased_at = lease.owner, self.engine.now
            known = known_of(task)
            known.claimed, known.lease_until, known.since = refresh_of(after), task.now_at + LEASE, self.engine.now
            known.before = access_of(after, task.part)

    def _answered_saved(self, task: Task, after: Connection) -> None:
        known = task.record
        if known is None or known.spending is None or not known.answers:
            return
        answer = known.answers[-1][0]
        if answer.name == access_of(after, answer.part):
            known.spending.settled_at = self.engine.now

    def _compared(self, task: Task, before: Connection, after: Connection) -> None:
        """Check that a record lost nothing, and went forward."""
        old, new = self.truth.refresh(refresh_of(before)), self.truth.refresh(refresh_of(after))
        if old is not None and new is None and before.grant == after.grant:
            raise Violation("refresh_dropped", f"{task.title} dropped {old.name}")
        same = old is not None and new is not None and old.grant is new.grant and old.parent is not new.parent
        if same and new.number < old.number:
            raise Violation("went_back", f"{task.title} put {new.name} over {old.name}")
        was, now_held = self.truth.access(access_of(before)), self.truth.access(access_of(after))
        if was is not None and now_held is not None and was.grant is now_held.grant and old is new:
            if now_held.number < was.number and new is not None:  # without one, nothing is lost by it
                raise Violation("went_back", f"{task.title} put {now_held.name} over {was.name}")
            if before.revoked_at and not after.revoked_at and now_held.refresh is not None:
                raise Violation("unrevoked", f"{task.title} made {now_held.name} usable again")
        both = was is not None and now_held is not None and task.kind not in _CONSENTS
        if both and self.truth.later(was, now_held):
            raise Violation("went_back", f"{task.title} put {now_held.name} over {was.name}, of a later consent")
        trouble = after.trouble
        if trouble is not None and trouble.sort == "grant" and (before.trouble is None or before.trouble != trouble):
            self._given_up(after, trouble.reason)

    def _given_up(self, after: Connection, reason: str) -> None:
        """Check that a connection that needs a person really does, and says truly why."""
        name = refresh_of(after)
        token, now = self.truth.refresh(name), self.engine.now
        self.engine.seen[f"needs_reconnect {reason}"] += 1
        if token is not None and self.truth.provider(token).usable(name, now):
            raise Violation("needless", f"{after.name} needs a person ({reason}), and {name} is still good")
        mine = [s for s in self.spendings.get(name, ()) if s.processed]
        doubts = set(self.doubts.get(name, ()))
        if any(not s.settled_at and now + 2 * self.truth.skew >= s.lease_until for s in mine):
            doubts.add("late")
        wrong = explains(reason, doubts, token, spent=len(mine) > 1, now=now)
        if wrong:
            raise Violation("dishonest", f"{after.name} says {reason}; {wrong}")

    def slept(self, task: Task) -> None:
        """Check that nobody waits for a lease that is over."""
        if task.kind != "obtain" or (task.record is not None and (task.record.answers or task.record.claimed)):
            return
        known, lease = known_of(task), self.rows[task.place].connection
        owner = lease.lease.owner if lease is not None and lease.lease is not None else ""
        if owner != known.waits_for:
            known.waits_for, known.waited = owner, 0.0
        known.waited += task.question.seconds
        if owner and known.waited > LEASE + SLACK:
            raise Violation("blocked", f"{task.title} has waited {known.waited:.0f} s for one lease")

    def spilled(self, task: Task, question: Spill) -> None:
        """Remember that a token went beside the store."""
        known = known_of(task)
        if known.spending is not None:
            known.spending.settled_at = self.engine.now
            if not self.engine.world.shared:
                known.spending.trouble.add("spilled elsewhere")
                self._doubt(task, "spilled")
        del question

    def came_home(self, task: Task, record: str, entry: Entry) -> None:
        """Check that what is dropped from the spill folder is in the store, or that something newer is."""
        name = record.removeprefix(CONNECTIONS)
        spilled, row = self.desk.connection(name, entry), self.rows[name]
        if row.connection is None or row.revoked_at:
            return
        held = self.truth.access(access_of(row.connection))
        for access in self.truth.held(spilled):
            older = held is not None and self.truth.later(access, held)
            if older or not self.truth.covers(row.connection, access, access.name, self.engine.now):
                raise Violation("answer_dropped", f"{task.title} dropped {access.name}, which was spilled")

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────────

    def crashed(self, task: Task) -> None:
        """Remember what a crash left open."""
        self.news.befell(task)
        known = task.record
        if known is None:
            return
        if known.claimed:
            self._doubt(task, "crash")
        if known.spending is not None and not known.spending.settled_at:
            known.spending.trouble.add("crash")

    def stalled(self, task: Task) -> None:
        """Remember that a task stood still, its clock running."""
        self.news.befell(task)
        known = known_of(task)
        known.stalled = True
        if known.spending is not None and not known.spending.settled_at:
            known.spending.trouble.add("stall")

    def store_failed(self, task: Task) -> None:
        """Remember that a plan was told that the store, or the log, is down."""
        self.news.befell(task)
        self.struck = True
        known_of(task).store_failed = True
        if task.record is not None and task.record.claimed:
            self._doubt(task, "store")
        else:
            held = self.rows.get(task.place)
            if held is not None and held.connection is not None:
                self.doubts.setdefault(refresh_of(held.connection), set()).add("store")

    def skewed(self, most: float) -> None:
        """Remember by how much clocks may differ."""
        self.truth.skew = max(self.truth.skew, most)

    def withdrawn(self, place: str) -> None:
        """Let the person take back what is held of a connection, at the provider."""
        held = self.rows[place].connection
        token = None if held is None else self.truth.access(access_of(held))
        if token is not None:
            self.engine.world.provider(place).end(token.grant, "person", self.engine.now)

    def _doubt(self, task: Task, why: str) -> None:
        known = known_of(task)
        if known.claimed:
            self.doubts.setdefault(known.claimed, set()).add(why)

    # ── what callers get ──────────────────────────────────────────────────────────────────────────────────────

    def ended(self, task: Task, value: Any, refusal: ValetkeyError | None) -> None:
        """Check what a plan gave, and that it kept what it was answered."""
        self.engine.seen[f"{task.kind}: {type(refusal).__name__ if refusal else 'ok'}"] += 1
        if isinstance(value, Tended):
            self.engine.seen[f"tended {value.became}"] += 1
        if isinstance(value, Serve) and value is not task.given:
            self._served(task, value)
        if isinstance(refusal, NeedsReconnect) and task.key is not None:
            row = self.rows[task.place]
            seen = row.changed_by is task or row.changed_at < task.loaded_at
            seen = seen and not (task.record is not None and task.record.store_failed)
            if seen and row.connection is not None and row.connection.trouble is None:
                raise Violation("dishonest", f"{task.title} was told to reconnect, and the record says nothing of it")
        wrong = unexpected(refusal, task, self)
        if wrong:
            raise Violation("unexpected", f"{task.title}: {wrong}")
        if task.record is not None and task.key is not None:
            for access, since, before in task.record.answers:
                self._kept(task, access, since, before)

    def _served(self, task: Task, served: Serve) -> None:
        name = served.token.reveal()
        token = self.truth.access(name)
        if token is None or token.grant.connection != task.place or token.part != task.part:
            raise Violation("mixed_up", f"{task.title} was given {name}")
        late = task.now_at - token.expires_at - 2 * self.truth.skew
        suspended = task.record is not None and (task.record.suspended or task.record.stalled)
        if token.said and late >= 0 and not suspended:
            raise Violation("expired", f"{task.title} was given {name}, {late:.3f} s after its end")
        row = self.rows[task.place]
        gone = None if row.removed is None else self.truth.access(access_of(row.removed))
        removed = gone is not None and gone.grant is token.grant and token.refresh is not None
        if removed and row.removed_at < task.loaded_at:
            raise Violation("revoked", f"{task.title} was given {name}, which was disconnected")
        held = row.connection
        if held is not None and held.revoked_at and row.revoked_at < task.loaded_at:
            raise Violation("revoked", f"{task.title} was given {name}, though the record says revoked")

    def _kept(self, task: Task, access: AccessToken, since: float, before: str) -> None:
        """Check that an answer is in the store or beside it, or that something newer is."""
        row = self.rows[task.place]
        if row.removed_at > since or row.revoked_at > since:
            return
        folder = task.replica.folder.get(CONNECTIONS + task.place)
        beside = None if folder is None else self.desk.connection(task.place, folder)
        known = known_of(task)
        stalled = known.stalled or known.suspended
        kept = [held for held in (row.connection, beside) if held is not None]
        if not any(self.truth.covers(held, access, before, self.engine.now, stalled=stalled) for held in kept):
            raise Violation("answer_dropped", f"{task.title} was answered {access.name}, and nobody kept it")
