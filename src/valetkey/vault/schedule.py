"""The schedule's plans: renew what is due unless somebody else does, and put down what is worth telling.

Nothing here waits for another replica: whoever swaps first has the work, the others go on to the next. A connection's
record says itself when it wants attention (desk.py, `due_at`) and what those who listen were told last (`told`), so a
crash between two lines loses neither a renewal nor news. What may not be here: I/O, and how often one looks
(refresher.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from valetkey.effects import Plan, load, now, swap
from valetkey.errors import ConnectionUnusable, ProviderError, ValetkeyError
from valetkey.providers.schema import Provider
from valetkey.values import Entry
from valetkey.vault import names
from valetkey.vault.desk import BLIPS, Desk, due_at, due_part, fingerprint, owners
from valetkey.vault.forecast import DAY, Forecast, drift_of, forecasts_of, secret_forecast, threshold
from valetkey.vault.notices import News, publish
from valetkey.vault.records import PERSON_GRANTS, App, Canary, Connection, Trouble, to_bytes
from valetkey.vault.renew import renew_now
from valetkey.vault.rotation import forget_ended

Mood = Literal["", "failing", "needs_reconnect"]

SURVEY_SECONDS: Final = DAY
SURVEY_LEASE: Final = 1800.0
"""How long a survey is left to the replica that began it."""

DRIFT_KEPT: Final = 365 * DAY

ROUNDING: Final = 0.01
"""Seconds by which a record may be due later than its column says, which counts in milliseconds."""

ASTRAY: Final = 1.0
"""Seconds by which a column that is wrong differs from the record at least."""


@dataclass(frozen=True, slots=True)
class Tended:
    """Be what became of a connection that was due; `news` is the kind of news put down, if there was any.

    `elsewhere`: another replica, or a caller, had been there before.
    """

    name: str
    became: Literal["renewed", "failed", "told", "elsewhere", "gone"]
    news: str = ""
    error: ValetkeyError | None = None


def tend(desk: Desk, name: str) -> Plan[Tended]:
    """Renew a connection if it is due and nobody else does; tell of it what is to be told.

    Failures of the provider are written down and returned; what hinders before that is raised (StoreUnavailable,
    NotFound for an app that is gone, VaultDamaged).
    """
    entry = yield from load(names.connection_record(name))
    if entry is None:
        return Tended(name, "gone")
    connection = desk.connection(name, entry)
    moment = (yield from now()).timestamp()
    due = due_at(connection)
    if due is None or due > moment + ROUNDING:
        yield from _put_right(desk, connection, entry, moment)
        return Tended(name, "elsewhere")
    part = _part_due(connection, moment)
    if part is None or _used_up(connection, part):
        if part is not None:
            yield from _say_over(desk, connection, entry.version, moment)
        return Tended(name, "told", (yield from tell(desk, name)))
    try:
        served = yield from renew_now(desk, connection, entry.version, part)
    except (ProviderError, ConnectionUnusable) as refusal:
        return Tended(name, "failed", (yield from tell(desk, name)), refusal)
    if served is None:
        return Tended(name, "elsewhere")
    return Tended(name, "renewed", (yield from tell(desk, name)) if connection.told else "")


def _part_due(connection: Connection, moment: float) -> str | None:
    """Return which of its tokens a connection wants renewed; None: there is only something to tell."""
    if connection.lease is not None:
        spent = connection.intent.fingerprint if connection.intent is not None else ""
        same = (part for part in owners(connection) if spent and fingerprint(connection.refresh_token(part)) == spent)
        return next(same, "")
    waiting = [(due, part) for part in owners(connection) if (due := due_part(connection, part)) is not None]
    due, part = min(waiting, default=(float("inf"), ""))
    return part if due <= moment + ROUNDING else None


def _used_up(connection: Connection, part: str) -> bool:
    return connection.grant in PERSON_GRANTS and connection.refresh_token(part) is None


def _say_over(desk: Desk, connection: Connection, version: int, moment: float) -> Plan[None]:
    """Write down that an access token has ended which nothing can renew."""
    over = Trouble(
        sort="grant",
        code="needs_reconnect",
        reason="no_refresh_token",
        message="the access token is used up, and the provider gave no refresh token",
        cause="the provider gives none, or wants a scope or parameter for it that this app does not send",
        at=moment,
    )
    ended = msgspec.structs.replace(connection, trouble=over, lease=None)
    yield from swap(names.connection_record(connection.name), version, desk.seal_connection(ended, moment))


def _put_right(desk: Desk, connection: Connection, entry: Entry, moment: float) -> Plan[None]:
    """Write a record anew whose column says that it is due, though it is not: another version reckoned otherwise."""
    due = due_at(connection)
    shown = entry.due_at.timestamp() if entry.due_at is not None else None
    if shown is not None and shown <= moment and (due is None or due - shown > ASTRAY):
        yield from swap(
            names.connection_record(connection.name), entry.version, desk.seal_connection(connection, moment)
        )


# ── news of a connection ──────────────────────────────────────────────────────────────────────────────────────


def mood(connection: Connection, moment: float) -> Mood:
    """Return what those who listen should know of a connection: nothing, that it is failing, or that it is over."""
    trouble = connection.trouble
    if trouble is None or connection.revoked_at:
        return ""
    if trouble.sort == "grant":
        return "needs_reconnect"
    tokens = connection.tokens
    dead = tokens is None or (tokens.expires_at is not None and moment >= tokens.expires_at)
    lasting = trouble.sort == "client" or trouble.failures >= BLIPS or dead or connection.told == "failing"
    return "failing" if lasting else ""


def tell(desk: Desk, name: str) -> Plan[str]:
    """Put down news if a connection's mood is another than was told last; return the kind of news, or nothing.

    The news first, then that it was told: after a crash between the two it is put down again under the same identifier.
    """
    record = names.connection_record(name)
    entry = yield from load(record)
    if entry is None:
        return ""
    connection = desk.connection(name, entry)
    moment = (yield from now()).timestamp()
    felt = mood(connection, moment)
    if felt == connection.told or connection.lease is not None:
        return ""
    news = state_news(connection, felt, moment)
    yield from publish(desk, news)
    told = msgspec.structs.replace(connection, told=felt)
    yield from swap(record, entry.version, desk.seal_connection(told, moment))
    return news.kind


def state_news(connection: Connection, felt: Mood, moment: float) -> News:
    """Return the news that a connection is failing, needs a person, or works again."""
    kind = f"connection.{felt or 'recovered'}"
    told: dict[str, Any] = {"connection": connection.name, "app": connection.app, "state": connection.state(moment)}
    if not felt:
        told["was"] = connection.told
    trouble = connection.trouble
    if felt and trouble is not None:
        texts = {"code": trouble.code, "reason": trouble.reason, "message": trouble.message, "cause": trouble.cause}
        fix = trouble.fix or f"valetkey connect {connection.name}"
        told |= {name: text for name, text in {**texts, "fix": fix}.items() if text}
        told |= {"failures": trouble.failures, "since": _iso(trouble.at)}
        if connection.tokens is not None and connection.tokens.expires_at is not None:
            told["token_expires_at"] = _iso(connection.tokens.expires_at)
    at = moment if trouble is None else trouble.at
    return News(kind, connection.name, f"{connection.created_at} {connection.generation}", at, told)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


# ── the daily survey: forecasts and drift ─────────────────────────────────────────────────────────────────────


def claim_survey(desk: Desk) -> Plan[int | None]:
    """Take the daily look at everything upon us; return the version of its record, None if it is not time for it."""
    entry = yield from load(names.SURVEY)
    moment = (yield from now()).timestamp()
    if entry is not None and (entry.due_at is None or entry.due_at.timestamp() > moment):
        return None
    version = entry.version if entry is not None else 0
    if not (yield from swap(names.SURVEY, version, _survey(desk, "running", moment + SURVEY_LEASE))):
        return None
    held = yield from load(names.SURVEY)
    return None if held is None else held.version


def end_survey(desk: Desk, version: int, *, again_in: float = SURVEY_SECONDS) -> Plan[None]:
    """Say that the survey is done, and when the next one is due."""
    moment = (yield from now()).timestamp()
    yield from swap(names.SURVEY, version, _survey(desk, "waiting", moment + again_in))


def survey_begun(desk: Desk) -> Plan[None]:
    """Let there be a survey, due now, if there never was one."""
    if (yield from load(names.SURVEY)) is None:
        yield from survey_soon(desk)


def survey_soon(desk: Desk) -> Plan[None]:
    """Let the survey be due now: somebody new listens."""
    entry = yield from load(names.SURVEY)
    moment = (yield from now()).timestamp()
    yield from swap(names.SURVEY, entry.version if entry is not None else 0, _survey(desk, "waiting", moment))


def _survey(desk: Desk, state: str, due: float) -> Entry:
    return Entry(state, desk.sealer.seal(names.SURVEY, to_bytes(Canary())), datetime.fromtimestamp(due, UTC))


def survey_connection(desk: Desk, record: str, apps: dict[str, tuple[App, Provider]]) -> Plan[int]:
    """Put down what is forecast of a connection and what it teaches of its provider; return how much was new.

    `apps` remembers the apps between two calls.
    """
    entry = yield from load(record)
    if entry is None:
        return 0
    name = record.removeprefix(names.CONNECTIONS)
    connection = desk.connection(name, entry)
    put = 0
    moment = (yield from now()).timestamp()
    if connection.app not in apps:
        stored = yield from load(names.app_record(connection.app))
        app = yield from forget_ended(desk, desk.app(connection.app, stored), moment)
        apps[connection.app] = app, desk.provider(app)
        put += yield from _publish_all(desk, secret_forecast(app), moment)
    app, provider = apps[connection.app]
    put += yield from _publish_all(desk, forecasts_of(connection, app, provider, moment), moment)
    for drift in drift_of(connection, provider):
        told = {"app": app.name, "provider": provider.key, **drift.to_dict(), "seen_at": connection.name}
        news = News("app.drift", app.name, f"{drift.fact} {drift.catalogue}", moment, told, moment + DRIFT_KEPT)
        put += yield from publish(desk, news)
    return put


def _publish_all(desk: Desk, forecasts: Iterable[Forecast], moment: float) -> Plan[int]:
    put = 0
    for forecast in forecasts:
        days = threshold(forecast, moment)
        if days is not None and forecast.sure != "possible":
            put += yield from publish(desk, _forecast_news(forecast, days, moment))
    return put


def _forecast_news(forecast: Forecast, days: int, moment: float) -> News:
    end = forecast.when.timestamp()
    about = "connection" if "/" in forecast.subject else "app"
    # The day, not the second: an end that is reckoned anew with each answer differs by a little.
    key = f"{forecast.what} {round(end / DAY)} {days}"
    told = {**forecast.to_dict(), "days_left": round((end - moment) / DAY, 1)}
    return News(f"{about}.forecast", forecast.subject, key, moment, told, end + DAY)
