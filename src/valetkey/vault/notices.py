"""News for those who listen: who they are, what waits to be told, and what became of it.

News is told at least once. Each piece has an identifier made of what it says, so that two replicas that notice the same
thing put it down once, and a receiver can tell a repetition. It waits in the vault, one record for each listener, until
it is delivered or three days have passed; then the record is kept a while, so that it is not said again.
What may not be here: sending (courier.py); which news there is (schedule.py, forecast.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from valetkey.effects import Plan, load, luck, note, now, swap
from valetkey.errors import AlreadyExists, InvalidInput, NotFound
from valetkey.values import Entry, Secret, secure_url
from valetkey.vault import names
from valetkey.vault.desk import Desk
from valetkey.vault.records import from_bytes, stored_as, to_bytes
from valetkey.vault.webhook import checked_secret

KINDS: Final = (
    "connection.failing",
    "connection.needs_reconnect",
    "connection.recovered",
    "connection.forecast",
    "app.forecast",
    "app.drift",
    "app.secret_turned",
)
"""What there is to listen for."""

TEST: Final = "valetkey.test"

RETRIES: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""Seconds between attempts, the last repeated: the schedule that Standard Webhooks recommends."""

GIVE_UP_SECONDS: Final = 3 * 86_400.0
CARRY_SECONDS: Final = 60.0
"""How long an attempt may take before another replica tries too; longer than a request or a command takes."""

KEPT_SECONDS: Final = 86_400.0
"""How long what was told is remembered: far longer than two replicas can differ in what they have read."""


class Listener(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be somebody who listens: a webhook or a command. No kinds: all of them."""

    name: str
    created_at: float
    url: str = ""
    secret: Secret | None = None
    command: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def wants(self, kind: str) -> bool:
        """Say whether this listener is to be told of a kind of news."""
        return kind == TEST or not self.kinds or kind in self.kinds


@stored_as
class Listeners(msgspec.Struct, frozen=True, omit_defaults=True):
    """Be all who listen, in one record."""

    all: tuple[Listener, ...] = ()


@stored_as
class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be a piece of news on its way to one listener."""

    identifier: str
    kind: str
    subject: str
    listener: str
    body: str
    created_at: float
    kept_until: float
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """Be something worth telling. `key` says, with kind and subject, when it is the same news again."""

    kind: str
    subject: str
    key: str
    at: float
    told: Mapping[str, Any] = field(default_factory=dict)
    kept_until: float = 0.0

    @property
    def identifier(self) -> str:
        """Return the news' identifier; the same news has the same one, on every replica."""
        said = f"valetkey news\0{self.kind}\0{self.subject}\0{self.key}"
        return "msg_" + hashlib.sha256(said.encode()).hexdigest()[:32]

    def body(self) -> str:
        """Return the news as Standard Webhooks shapes it: type, timestamp, data. Nothing in it is secret."""
        at = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds")
        return msgspec.json.encode({"type": self.kind, "timestamp": at, "data": dict(self.told)}).decode()


@dataclass(frozen=True, slots=True)
class Errand:
    """Be a notice that is ours to deliver now."""

    notice: Notice
    listener: Listener
    version: int = 0

    @property
    def record(self) -> str:
        """Return the name of the notice's record."""
        return names.notice_record(self.notice.identifier, self.notice.listener)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Be what became of an attempt: a word (http_204, exit_1, timed_out), and how long the receiver wants to rest.

    `final` says that trying again would be of no use.
    """

    delivered: bool
    word: str
    retry_after: float = 0.0
    final: bool = False


# ── who listens ───────────────────────────────────────────────────────────────────────────────────────────────


def listeners(desk: Desk) -> Plan[tuple[Listener, ...]]:
    """Return who listens."""
    return _opened(desk, (yield from load(names.LISTENERS))).all


def add_listener(desk: Desk, listener: Listener) -> Plan[Listener]:
    """Tell somebody from now on; raises AlreadyExists, InvalidInput, InsecureUrl."""
    names.app_name(listener.name)  # as narrow as an app's name, for the same reasons
    unknown = [kind for kind in listener.kinds if kind not in KINDS]
    if unknown:
        raise InvalidInput(f"there is no news of the kind {unknown[0][:80]!r}", fix=f"one of: {', '.join(KINDS)}")
    if bool(listener.url) == bool(listener.command) or not all(listener.command):
        raise InvalidInput("a listener is a URL or a command", fix="give one of them")
    if listener.url:
        secure_url(listener.url, "webhook's URL")
        checked_secret(listener.secret or Secret(""))
    entry = yield from load(names.LISTENERS)
    known = _opened(desk, entry).all
    if any(other.name == listener.name for other in known):
        raise AlreadyExists(f"there is a listener called {listener.name}", fix="choose another name, or remove it")
    made = msgspec.structs.replace(listener, created_at=(yield from now()).timestamp())
    yield from _keep(desk, entry, (*known, made))
    yield from note("listener.added", listener.name)
    return made


def remove_listener(desk: Desk, name: str) -> Plan[None]:
    """Tell somebody no more; raises NotFound. What waits for it is forgotten when its turn comes."""
    entry = yield from load(names.LISTENERS)
    known = _opened(desk, entry).all
    left = tuple(other for other in known if other.name != name)
    if len(left) == len(known):
        raise unknown_listener(name)
    yield from _keep(desk, entry, left)
    yield from note("listener.removed", name)


def unknown_listener(name: str) -> NotFound:
    """Return the error for a listener that is not there."""
    return NotFound(f"there is no listener called {name[:80]}", fix="`valetkey notify list` shows them")


def _opened(desk: Desk, entry: Entry | None) -> Listeners:
    if entry is None:
        return Listeners()
    return from_bytes(Listeners, names.LISTENERS, desk.sealer.open(names.LISTENERS, entry.box))


def _keep(desk: Desk, entry: Entry | None, wanted: tuple[Listener, ...]) -> Plan[None]:
    box = desk.sealer.seal(names.LISTENERS, to_bytes(Listeners(wanted)))
    if not (yield from swap(names.LISTENERS, entry.version if entry else 0, Entry("listeners", box))):
        raise AlreadyExists("the listeners were changed by somebody else at the same time", fix="try again")


# ── what waits ────────────────────────────────────────────────────────────────────────────────────────────────


def publish(desk: Desk, news: News) -> Plan[int]:
    """Put news down for everybody who wants it, durably; return for how many it is new."""
    put = 0
    for listener in (yield from listeners(desk)):
        if listener.wants(news.kind):
            put += yield from _put(desk, news, listener)
    return put


def _put(desk: Desk, news: News, listener: Listener) -> Plan[bool]:
    moment = yield from now()
    notice = Notice(
        identifier=news.identifier,
        kind=news.kind,
        subject=news.subject,
        listener=listener.name,
        body=news.body(),
        created_at=moment.timestamp(),
        kept_until=max(news.kept_until, moment.timestamp() + KEPT_SECONDS),
    )
    record = names.notice_record(notice.identifier, listener.name)
    return (yield from swap(record, 0, _sealed(desk, notice, "waiting", moment.timestamp())))


def trial(listener: Listener, moment: float) -> Errand:
    """Return an errand that tells nothing, to see whether a listener hears."""
    news = News(TEST, listener.name, str(moment), moment, {"listener": listener.name})
    notice = Notice(
        identifier=news.identifier,
        kind=news.kind,
        subject=news.subject,
        listener=listener.name,
        body=news.body(),
        created_at=moment,
        kept_until=moment,
    )
    return Errand(notice, listener)


def take(desk: Desk, record: str) -> Plan[Errand | None]:
    """Take up a notice that is due, so that no other replica carries it too; None: there is nothing to carry."""
    entry = yield from load(record)
    moment = yield from now()
    if entry is None or entry.due_at is None or entry.due_at > moment:
        return None
    notice = from_bytes(Notice, record, desk.sealer.open(record, entry.box))
    listener = next((one for one in (yield from listeners(desk)) if one.name == notice.listener), None)
    if entry.state == "told" or listener is None:
        yield from swap(record, entry.version, None)
        return None
    taken = msgspec.structs.replace(notice, attempts=notice.attempts + 1)
    lease = _sealed(desk, taken, "waiting", moment.timestamp() + CARRY_SECONDS)
    return Errand(taken, listener, entry.version + 1) if (yield from swap(record, entry.version, lease)) else None


def settle(desk: Desk, errand: Errand, outcome: Outcome) -> Plan[bool]:
    """Write down what became of an attempt: done, or when to try again; return whether it is done with."""
    notice, moment = errand.notice, (yield from now()).timestamp()
    jitter = int.from_bytes((yield from luck(2)), "big") / 0xFFFF
    given_up = outcome.final or moment - notice.created_at >= GIVE_UP_SECONDS
    ended = outcome.delivered or given_up
    wait = RETRIES[min(notice.attempts, len(RETRIES)) - 1] * (1.0 + jitter / 10)
    due = max(notice.kept_until, moment + KEPT_SECONDS) if ended else moment + max(wait, outcome.retry_after)
    yield from swap(errand.record, errand.version, _sealed(desk, notice, "told" if ended else "waiting", due))
    kind = "notice.delivered" if outcome.delivered else "notice.given_up" if given_up else "notice.failed"
    word = "ok" if outcome.delivered else "failed"
    yield from note(kind, notice.subject, word, outcome.word, listener=notice.listener, event=notice.kind)
    return ended


def _sealed(desk: Desk, notice: Notice, state: str, due: float) -> Entry:
    record = names.notice_record(notice.identifier, notice.listener)
    return Entry(state, desk.sealer.seal(record, to_bytes(notice)), datetime.fromtimestamp(due, UTC))
