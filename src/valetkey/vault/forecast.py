"""What will end when, how sure that is, and from which fact; and where answers differ from the catalogue.

Pure: records, the provider's description and the time go in. What may not be here: I/O; whom to tell (schedule.py).

    certain    the provider said so of this very token, or a person wrote down the day
    likely     the provider's documentation says so
    possible   it depends on something not known here, or is said by others than the provider
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal

from valetkey.providers.facts import source_of
from valetkey.providers.schema import Provider
from valetkey.vault.records import PERSON_GRANTS, App, Connection, TokenSet

Sure = Literal["certain", "likely", "possible"]

DAY: Final = 86_400.0

WARN_DAYS: Final = (30, 7, 1)
"""So many days ahead listeners are told, once each: time to plan, to act, and to hurry."""

SURVIVED_SECONDS: Final = DAY
"""A refresh token that works so long after it should have ended disproves what was said of it."""

SAME_SHARE: Final = 0.02
"""Of a lifetime: ends told in two answers that differ by less are one and the same end, not a new one."""

ROUNDED_SECONDS: Final = 5.0
"""Two answers that tell one and the same end may differ by this: lifetimes are whole seconds, and answers travel."""

WATCHED_SECONDS: Final = 60.0
"""A refresh so long after consent shows whether it moves the end or not; a sooner one may not."""

SHORTER_SHARE: Final = 0.9
"""A lifetime told below this share of the catalogue's counts as another one, not as a remainder being rounded."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Be one thing that will end. `subject` is a connection (app/label) or an app; `when` is aware, UTC."""

    when: datetime
    subject: str
    what: str
    sure: Sure
    source: str
    fix: str

    def to_dict(self) -> dict[str, object]:
        """Return the forecast for programs: JSON types only."""
        shown: dict[str, object] = {"when": self.when.isoformat(timespec="seconds"), "subject": self.subject}
        return {**shown, "what": self.what, "sure": self.sure, "source": self.source, "fix": self.fix}


def forecasts_of(connection: Connection, app: App, provider: Provider, now: float) -> list[Forecast]:
    """Return what will end of a connection, the soonest first. What its state says already is no forecast."""
    if connection.revoked_at or connection.tokens is None:
        return []
    if connection.trouble is not None and connection.trouble.sort == "grant":
        return []
    found = list(_ends(connection, connection.tokens, app, provider, now))
    return sorted((as_of(one, now) for one in found), key=lambda forecast: forecast.when)


def as_of(forecast: Forecast, now: float) -> Forecast:
    """Return a forecast in the words of what is over, where its time has come."""
    if forecast.when.timestamp() > now:
        return forecast
    what = forecast.what.replace(" ends when it is not used", " ended if it was not used").replace(" ends", " ended")
    return replace(forecast, what=what, fix=forecast.fix.replace(" before then;", ";"))


def secret_forecast(app: App) -> list[Forecast]:
    """Return when an app's client secret ends, if somebody wrote it down."""
    staged = app.staged if app.staged is not None and app.staged.role == "next" else None
    found = []
    if app.secret_expires_at is not None:
        fix = f"make a new secret in the provider's console, then `valetkey app secret stage {app.name}`"
        if staged is not None:
            fix = f"`valetkey app secret promote {app.name}`: another is staged"
        what = "the client secret ends; after that no connection of this app can be renewed"
        found.append(Forecast(_at(app.secret_expires_at), app.name, what, "certain", "the day given with the app", fix))
    if staged is not None and staged.proof.expires_at is not None:
        fix = f"`valetkey app secret forget {app.name}`, and stage one that lives longer"
        what = "the staged client secret ends, which is not used yet"
        found.append(Forecast(_at(staged.proof.expires_at), app.name, what, "certain", "the day given with it", fix))
    return found


def threshold(forecast: Forecast, now: float) -> int | None:
    """Return the tightest of the warning times that has come, in days; None: it is too early to warn, or too late."""
    left = forecast.when.timestamp() - now
    return min((days for days in WARN_DAYS if left <= days * DAY), default=None) if left > 0 else None


def _ends(connection: Connection, tokens: TokenSet, app: App, provider: Provider, now: float) -> Iterator[Forecast]:
    if connection.grant not in PERSON_GRANTS:
        return  # whoever can ask anew without a person has no end to fear but the client secret's
    fix = f"`valetkey connect {connection.name}` before then; it keeps its name"
    if tokens.refresh is None:
        if tokens.expires_at is not None:
            what, source = "the access token ends, and there is no refresh token", "the provider's answer (expires_in)"
            yield Forecast(_at(tokens.expires_at), connection.name, what, "certain", source, fix)
        return
    consented = connection.consented_at or connection.created_at
    told = _told_end(connection, tokens)
    if told is not None:
        yield told
    elif provider.refresh.absolute_days and not _moves(connection, tokens):
        end = consented + provider.refresh.absolute_days * DAY
        what = f"the refresh token ends {provider.refresh.absolute_days} days after consent, whatever is done"
        sure, source = _fact(provider, "refresh.absolute_days")
        if now < end + SURVIVED_SECONDS:
            yield Forecast(_at(end), connection.name, what, sure, source, fix)
    yield from _testing(connection, app, provider, consented, now)
    yield from _unused(connection, tokens, provider)


def _told_end(connection: Connection, tokens: TokenSet) -> Forecast | None:
    """Return the end that the provider has told, unless each refresh moves it."""
    end = tokens.refresh_expires_at
    if end is None or _moves(connection, tokens):
        return None
    watched = connection.refreshed_at - connection.consented_at if connection.first_end is not None else 0.0
    fixed = connection.rotates is False or watched > WATCHED_SECONDS
    what = "the refresh token ends" + (", whatever is done" if fixed else ", unless a refresh moves its end")
    fix = f"`valetkey connect {connection.name}` before then; it keeps its name"
    source = "the provider's answer (the lifetime of the refresh token)"
    return Forecast(_at(end), connection.name, what, "certain" if fixed else "likely", source, fix)


def _moves(connection: Connection, tokens: TokenSet) -> bool:
    """Say whether refreshing has moved the end of the refresh token, as it does where only lying unused ends it."""
    first, last = connection.first_end, tokens.refresh_expires_at
    if first is None or last is None:
        return False
    lifetime = first - (connection.consented_at or connection.created_at)
    watched = tokens.obtained_at - (connection.consented_at or connection.created_at)
    return last - first > max(ROUNDED_SECONDS, SAME_SHARE * min(lifetime, watched))


def _testing(connection: Connection, app: App, provider: Provider, consented: float, now: float) -> Iterator[Forecast]:
    days = provider.refresh.testing_days
    end = consented + days * DAY
    lived = connection.refreshed_at > end + SURVIVED_SECONDS
    told = connection.tokens is not None and connection.tokens.refresh_expires_at is not None
    if not days or app.testing is False or lived or told or now > end + SURVIVED_SECONDS:
        return
    _sure, source = _fact(provider, "refresh.testing_days")
    what = f"while the app is in testing at the provider, the refresh token ends {days} days after consent"
    fix = f"publish the app at the provider, then `valetkey connect {connection.name}`"
    yield Forecast(_at(end), connection.name, what, "likely" if app.testing else "possible", source, fix)


def _unused(connection: Connection, tokens: TokenSet, provider: Provider) -> Iterator[Forecast]:
    """Forecast the end of a refresh token that lies unused; while it is renewed in time this never comes."""
    if not connection.idle:
        return
    days = round(connection.idle / DAY)
    what = f"the refresh token ends when it is not used for {days} days"
    _sure, source = _fact(provider, "refresh.idle_days")
    fix = "let `valetkey keep` or `valetkey serve` run: it is then used in time"
    if connection.trouble is not None:
        fix = connection.trouble.fix or fix
    stuck = connection.trouble is not None and connection.trouble.sort == "client"
    end = tokens.obtained_at + connection.idle
    yield Forecast(_at(end), connection.name, what, "likely" if stuck else "possible", source, fix)


def _fact(provider: Provider, path: str) -> tuple[Sure, str]:
    """Return how sure a fact of the catalogue is, and where it was read."""
    source = source_of(provider, path)
    if source is None:
        return "possible", f"{provider.name}: {path}"
    sure: Sure = "likely" if source.sure in {"documented", "observed"} else "possible"
    return sure, f"{source.where} ({source.sure}, read {source.date})"


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# ── drift ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Drift:
    """Be a fact of the catalogue that answers contradict: its path, what stands there, and what was seen."""

    fact: str
    catalogue: str
    seen: str

    def to_dict(self) -> dict[str, object]:
        """Return the drift for programs."""
        return {"fact": self.fact, "catalogue": self.catalogue, "seen": self.seen}


def drift_of(connection: Connection, provider: Provider) -> list[Drift]:
    """Return where a provider's answers teach otherwise than the catalogue says. What answers teach is obeyed."""
    found = []
    said, seen = provider.refresh.rotates, connection.rotates
    if (said == "always" and seen is False) or (said == "never" and seen is True):
        answer = "a refresh brought a new refresh token" if seen else "a refresh brought no new refresh token"
        found.append(Drift("refresh.rotates", said, answer))
    tokens = connection.tokens
    if tokens is None:
        return found
    if not provider.refresh.available and tokens.refresh is not None:
        found.append(Drift("refresh.available", "no refresh tokens", "the provider gave a refresh token"))
    days = provider.refresh.idle_days or provider.refresh.absolute_days
    if connection.first_end is not None and days:
        told = connection.first_end - (connection.consented_at or connection.created_at)
        if told < SHORTER_SHARE * days * DAY:
            fact = "refresh.idle_days" if provider.refresh.idle_days else "refresh.absolute_days"
            found.append(Drift(fact, f"{days} days", f"a refresh token came with {_days(told)}"))
    return found


def _days(seconds: float) -> str:
    return f"{seconds / DAY:.1f} days" if seconds >= DAY else f"{seconds / 3600:.1f} hours"
