"""The refresh: claim, note, send, save; in this order, so that a crash at any line loses as little as can be.

1. Claim: lease and intent are swapped in at the version read. It also proves that the store can be written: if it
   cannot, nothing is spent.
2. The audit log hears of it, durably.
3. The request is sent, with a time-out shorter than the lease.
4. The answer is saved before anything optional in it is judged. A store that is down is tried again, then spilled.
5. A failure is written down by its sort: for good, our configuration, or weather.

Run it where it outlives its caller (flights.py). What may not be here: I/O, clocks; everything is asked for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import msgspec

from valetkey.effects import Plan, load, luck, note, now, send, sleep, spilled, swap
from valetkey.errors import (
    BadAnswer,
    GrantRefused,
    ProviderError,
    Revoked,
    StoreUnavailable,
    ValetkeyError,
    VaultDamaged,
    VaultUnreadable,
    Weather,
)
from valetkey.oauth.client import Client
from valetkey.oauth.reading import TokenAnswer, read_token
from valetkey.providers.schema import Provider
from valetkey.values import Scopes, Token
from valetkey.vault import names
from valetkey.vault.asking import asked_scopes, name_scopes, token_request
from valetkey.vault.desk import Desk, fingerprint, fresh_until, load_app, stamp
from valetkey.vault.judge import Demand, Refuse, Serve, Wait, judge, reconnect, token_of
from valetkey.vault.proofs import trial_refused
from valetkey.vault.proving import proven, unproven
from valetkey.vault.records import App, Connection, Intent, Lease, TokenSet, Trouble, owner_of
from valetkey.vault.recover import recover
from valetkey.vault.saving import keep
from valetkey.vault.turning import turn_over

SEND_SECONDS: Final = 30.0

LEASE_SECONDS: Final = 45.0
"""How long others leave a renewal to its owner: the longest request, and time to save its answer."""

BACKOFF_FIRST: Final = 1.0
BACKOFF_MOST: Final = 300.0
TARGETS_MOST: Final = 32
"""Tokens for other targets kept with a connection: each makes its record larger, which every refresh writes."""

CLIENT_BACKOFF: Final = 30.0
"""A wrong client secret is mended by a person; asking more often than this helps nobody, and some providers lock."""


@dataclass(frozen=True)
class Claim:
    """Be a renewal under way: the record as claimed, at which version, and what it will spend."""

    desk: Desk
    app: App
    provider: Provider
    connection: Connection
    version: int
    doubt: Intent | None  # an earlier intent whose fate is not known
    moment: float  # when it was claimed; lifetimes count from here, for the answer may have taken its time
    part: str = ""
    trial: bool = False

    @property
    def record(self) -> str:
        """Return the name of the record."""
        return names.connection_record(self.connection.name)


def obtain(desk: Desk, name: str, demand: Demand) -> Plan[Serve]:
    """Return a token that may be handed out, renewing it if need be; raises the errors of the connection's state."""
    record = names.connection_record(name)
    looked, owner, waited = "", "", 0.0
    while True:
        entry = yield from load(record)
        connection = desk.connection(name, entry)
        if connection.lease is not None and connection.lease.owner == owner and waited >= LEASE_SECONDS:
            # By our own count it is over; its clock must be ahead of ours.
            connection = msgspec.structs.replace(connection, lease=None)
        moment = (yield from now()).timestamp()
        verdict = judge(connection, moment, demand)
        if isinstance(verdict, Serve):
            return verdict
        if isinstance(verdict, Refuse):
            raise verdict.error
        if isinstance(verdict, Wait):
            holder = connection.lease.owner if connection.lease else ""
            owner, waited = holder, (waited if holder == owner else 0.0) + verdict.seconds
            yield from sleep(verdict.seconds)
            continue
        if connection.intent is not None and connection.intent.attempt != looked:
            # Somebody spent the refresh token and could not save the answer: it may have been spilled since.
            looked = connection.intent.attempt
            if (yield from _came_home(desk, record)):
                continue
        claim = yield from _claim(desk, connection, entry.version if entry else 0, demand)
        if claim is None:
            continue  # somebody else was first: look again
        served = yield from _renew(claim, verdict.fallback)
        if served is not None:
            return served


def _came_home(desk: Desk, record: str) -> Plan[bool]:
    """Save what was spilled of a record, if anything was; spending its refresh token again could end the grant."""
    entry = yield from spilled(record)
    if entry is None:
        return False
    with suppress(VaultDamaged, VaultUnreadable):  # of another vault that lay here before, or of a later valetkey
        yield from recover(desk, record, entry)
    return True


def renew_now(desk: Desk, connection: Connection, version: int, part: str) -> Plan[Serve | None]:
    """Renew a part of a connection as it was read; None: somebody else was first. Raises what became of it."""
    if connection.intent is not None and (yield from _came_home(desk, names.connection_record(connection.name))):
        return None
    claim = yield from _claim(desk, connection, version, Demand(part=part))
    return None if claim is None else (yield from _renew(claim, None))


def _claim(desk: Desk, connection: Connection, version: int, demand: Demand) -> Plan[Claim | None]:
    app = yield from load_app(desk, connection.app)
    provider = desk.provider(app)
    unproven(desk, app, provider)  # what cannot be used is refused before anything is claimed
    attempt = (yield from luck(9)).hex()
    moment = (yield from now()).timestamp()
    spent = fingerprint(connection.refresh_token(demand.part))
    claimed = msgspec.structs.replace(
        connection,
        lease=Lease(attempt, moment + LEASE_SECONDS),
        intent=Intent(attempt=attempt, fingerprint=spent, started_at=moment),
    )
    done = yield from swap(names.connection_record(connection.name), version, desk.seal_connection(claimed, moment))
    if not done:
        return None
    doubt = connection.intent
    return Claim(desk, app, provider, claimed, version + 1, doubt, moment, demand.part, demand.trial)


def _renew(claim: Claim, fallback: Token | None) -> Plan[Serve | None]:
    """Send, save, and give the new token; on a passing failure give the fallback; None: look again."""
    name = claim.connection.name
    try:
        ask = partial(_exchanged, claim)
        answer, used = yield from proven(claim.desk, claim.app, claim.provider, ask, trial=claim.trial)
    except ProviderError as refusal:
        return (yield from _failed(claim, refusal, fallback))
    except ValetkeyError as refusal:
        # Nothing was spent: put the record back as it was, as far as the store allows.
        yield from _settle(claim, refusal, spent=False)
        if isinstance(refusal, _TooLate):
            return None
        raise
    renewed = _renewed(claim, answer)
    saved = yield from keep(claim.desk, claim.version, renewed)
    # The token is safe now. If the log is down, that is its own trouble and no reason to withhold the token.
    yield from _note("refresh.finished", name, rotated="yes" if answer.refresh_token else "no")
    if used.staged is None and claim.app.staged is not None and not claim.trial:
        yield from turn_over(claim.desk, claim.app, name)
    if saved.revoked_at:
        raise Revoked(f"connection {name} was disconnected meanwhile")
    tokens = saved.held(claim.part)
    if tokens is None or tokens != renewed.held(claim.part):
        return None  # somebody else's is held now, and nobody has looked whether it lives
    return Serve(token_of(tokens), fresh_until(saved, claim.part))


class _TooLate(StoreUnavailable):
    """Say that too little of the lease is left to send anything."""


def _exchanged(claim: Claim, app: App, client: Client) -> Plan[tuple[TokenAnswer, App]]:
    """Tell the log, send the request, and read what came, and as which app; nothing is spent before it is sent."""
    connection = claim.connection
    request = token_request(claim.desk, client, app, connection, (yield from stamp()), part=claim.part)
    intent = connection.intent
    spent = {"refresh_token": intent.fingerprint} if intent and intent.fingerprint else {}
    yield from note("refresh.started", connection.name, "unknown", attempt=intent.attempt if intent else "", **spent)
    if (yield from now()).timestamp() > claim.moment + LEASE_SECONDS - SEND_SECONDS:
        # The log or a secret manager took its time, or this machine slept: others may think the lease over before an
        # answer can come.
        raise _TooLate("too late to send")
    response = yield from send(replace(request, timeout=min(request.timeout, SEND_SECONDS)))
    asked = Scopes() if claim.part else Scopes(connection.asked.scopes)
    return read_token(client, response, asked=asked, sent=request.secrets), app


def _renewed(claim: Claim, answer: TokenAnswer) -> Connection:
    """Return the connection with what the answer gave, and everything else as it was."""
    before, moment = claim.connection, claim.moment
    old = before.refresh_token(claim.part)
    rotates = before.rotates
    if old is not None:
        rotates = answer.refresh_token is not None and answer.refresh_token != old  # compared: by Secret, constant time
    renewed = with_tokens(before, answer, moment, claim.part)
    return msgspec.structs.replace(
        renewed,
        kept={**before.kept, **answer.kept},
        lease=None,
        intent=None,
        trouble=before.trouble if _of_another(before.trouble, claim.part) else None,
        refreshed_at=moment,
        generation=before.generation + 1,
        spent=fingerprint(old),
        spent_part=owner_of(claim.part),
        spent_for=claim.part,
        rotates=rotates,
        margin=float(claim.provider.refresh.margin_seconds),
        idle=claim.provider.refresh.idle_days * 86_400.0,
    )


def _of_another(trouble: Trouble | None, part: str) -> bool:
    """Say whether a trouble is that of another token of the connection, which this renewal does not mend."""
    return trouble is not None and trouble.part != owner_of(part)


def with_tokens(before: Connection, answer: TokenAnswer, moment: float, part: str = "") -> Connection:
    """Return a connection with the tokens of an answer in their places, all in one record, for one swap."""
    parts = dict(before.parts)
    for name, other in answer.parts.items():
        parts[name] = token_set(other, moment, (), parts.get(name))
    if not part:
        tokens = token_set(answer, moment, before.asked.scopes, before.tokens)
        return msgspec.structs.replace(before, tokens=tokens, parts=parts)
    asked = () if before.held(part) is None else tuple(before.parts[part].scopes)
    obtained = token_set(answer, moment, asked, before.parts.get(part))
    if owner_of(part) == part:
        return msgspec.structs.replace(before, parts={**parts, part: obtained})
    # Another target's token came for the connection's own refresh token: whichever is newest stays with its owner.
    own = before.tokens
    if own is not None and answer.refresh_token is not None:
        own = msgspec.structs.replace(own, refresh=answer.refresh_token)
    parts[part] = msgspec.structs.replace(obtained, refresh=None, refresh_expires_at=None)
    targets = sorted((name for name in parts if owner_of(name) != name), key=lambda name: parts[name].obtained_at)
    for oldest in targets[:-TARGETS_MOST]:
        del parts[oldest]  # it can be had again
    return msgspec.structs.replace(before, tokens=own, parts=parts)


def token_set(answer: TokenAnswer, moment: float, asked: tuple[str, ...], before: TokenSet | None) -> TokenSet:
    """Return an answer as it is stored; a refresh token that did not come back is kept (RFC 6749 section 6)."""
    refresh = answer.refresh_token or (before.refresh if before else None)
    refresh_until = None if answer.refresh_expires_in is None else moment + answer.refresh_expires_in
    if refresh_until is None and before is not None and answer.refresh_token is None:
        refresh_until = before.refresh_expires_at
    scopes = answer.scopes if answer.scopes is not None else (before.scopes if before and before.scopes else asked)
    return TokenSet(
        access=answer.access_token,
        obtained_at=moment,
        kind=answer.kind,
        expires_at=None if answer.expires_in is None else moment + answer.expires_in,
        refresh=refresh,
        refresh_expires_at=refresh_until,
        scopes=tuple(Scopes(scopes)),
        id_token=answer.id_token or (before.id_token if before else None),
    )


def _failed(claim: Claim, refusal: ProviderError, fallback: Token | None) -> Plan[Serve | None]:
    """Write a failure down; give the fallback while it lives, unless the failure is about the caller."""
    if not claim.part:  # another target may be named as a scope
        name_scopes(refusal, asked_scopes(claim.provider, claim.connection))
    settled = yield from _settle(claim, refusal, spent=not isinstance(refusal, Weather) or refusal.sent)
    yield from _note("refresh.failed", claim.connection.name, "failed", refusal.code)
    if settled is None:
        return None  # the record has moved on while we asked: what we were told is of the past
    if fallback is not None and fallback.lives_until((yield from now())):
        return Serve(fallback, 0.0)
    trouble = settled.trouble
    if trouble is not None and trouble.sort == "grant" and not claim.trial:
        raise reconnect(settled, trouble)
    raise trial_refused(claim.app, settled.name, refusal) if claim.trial else refusal


def _settle(claim: Claim, refusal: ValetkeyError, *, spent: bool) -> Plan[Connection | None]:
    """Give the claim back with the failure written down; None if the claim was not ours any more."""
    moment = (yield from now()).timestamp()
    jitter = int.from_bytes((yield from luck(2)), "big") / 0xFFFF
    before = claim.connection
    trouble = before.trouble
    if isinstance(refusal, ProviderError) and not claim.trial:  # a trial says nothing of the connection
        trouble = _trouble(claim, refusal, moment, jitter)
    settled = msgspec.structs.replace(
        before,
        lease=None,
        intent=_fate(claim, refusal, spent=spent),
        trouble=trouble,
    )
    with suppress(StoreUnavailable):  # then the lease lapses by itself, and the open intent tells the rest
        if not (yield from swap(claim.record, claim.version, claim.desk.seal_connection(settled, moment))):
            return None
    return settled


def _fate(claim: Claim, refusal: ValetkeyError, *, spent: bool) -> Intent | None:
    """Return the intent to remember: whether the refresh token may have been spent without our seeing the answer."""
    intent = claim.connection.intent
    if intent is None or not intent.fingerprint:
        return None
    if isinstance(refusal, BadAnswer):
        return msgspec.structs.replace(intent, fate="bad_answer")
    if isinstance(refusal, Weather) and spent and refusal.status != 429:
        return msgspec.structs.replace(intent, fate="server_error" if refusal.status else "answer_lost")
    # Not sent, or plainly refused: nothing new is in doubt. What was in doubt before stays so, unless it is settled.
    return None if _for_good(refusal) and not claim.trial else claim.doubt


_FOR_GOOD: Final = frozenset({"unauthorized_client"})
"""Refusals of the registration that end a grant: the same refresh token is not taken later either."""


def _for_good(refusal: ValetkeyError) -> bool:
    return isinstance(refusal, GrantRefused) or refusal.code in _FOR_GOOD


_WHY: Final = {
    "open": (
        "crashed_mid_refresh",
        "the process that renewed it died between sending the refresh token and saving the answer, which lost the next",
    ),
    "answer_lost": (
        "answer_lost",
        "the provider's answer to an earlier refresh never arrived; it had spent the refresh token all the same",
    ),
    "server_error": (
        "server_error",
        "the provider failed in the middle of an earlier refresh, and had spent the refresh token all the same",
    ),
    "bad_answer": (
        "bad_answer",
        "an earlier refresh was answered by something unreadable, and had spent the refresh token all the same",
    ),
}


def _trouble(claim: Claim, refusal: ProviderError, moment: float, jitter: float) -> Trouble:
    before = claim.connection.trouble
    failures = 1 + (before.failures if before is not None else 0)
    facts = Trouble(sort="client", code=refusal.code, message=refusal.message, at=moment, failures=failures)
    facts = msgspec.structs.replace(facts, part=owner_of(claim.part))
    if (isinstance(refusal, GrantRefused) and _spends(claim)) or refusal.code in _FOR_GOOD:
        reason, cause = _WHY[claim.doubt.fate] if _doubted(claim) and claim.doubt else (refusal.code, refusal.cause)
        return msgspec.structs.replace(facts, sort="grant", reason=reason, cause=cause)
    facts = msgspec.structs.replace(facts, cause=refusal.cause, fix=refusal.fix)
    if not isinstance(refusal, Weather | BadAnswer):
        return msgspec.structs.replace(facts, retry_at=moment + CLIENT_BACKOFF)
    asked = refusal.retry_after if isinstance(refusal, Weather) else 0.0
    grown = min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(failures - 1, 12))
    return msgspec.structs.replace(facts, sort="weather", retry_at=moment + max(asked, grown * (0.5 + jitter / 2)))


def _spends(claim: Claim) -> str:
    """Return the fingerprint of the refresh token this claim spends, empty if it spends none."""
    return claim.connection.intent.fingerprint if claim.connection.intent else ""


def _doubted(claim: Claim) -> bool:
    """Say whether the refresh token may have been spent by an earlier attempt whose answer nobody saw."""
    manner = claim.provider.refresh
    if claim.connection.rotates is False or manner.rotates == "never" or manner.old_token == "stays":
        return False
    return claim.doubt is not None and claim.doubt.fingerprint == _spends(claim)


def _note(kind: str, subject: str, outcome: str = "ok", reason: str = "", **detail: str) -> Plan[None]:
    """Tell the log what is already a fact; a log that is down does not undo it."""
    with suppress(StoreUnavailable):
        yield from note(kind, subject, outcome, reason, **detail)
