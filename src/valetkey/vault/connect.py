"""Connecting: send a person away with a single-use link, take what comes back, keep the tokens.

A pending authorization is good once, for ten minutes, and only for who started it. It is marked used before anything
is redeemed, in one swap, so that of two answers with one state only one gets further. What may not be here: I/O.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from valetkey.effects import Plan, load, luck, note, now, send, swap
from valetkey.errors import AlreadyExists, CallbackRefused, StoreUnavailable, ValetkeyError, Weather
from valetkey.oauth.authorize import (
    AuthorizationCode,
    Expected,
    authorization_url,
    code_request,
    read_redirect,
    state_of,
)
from valetkey.oauth.client import Client
from valetkey.oauth.pkce import challenge, verifier_from
from valetkey.oauth.reading import TokenAnswer, read_token
from valetkey.providers.schema import GrantName, Provider
from valetkey.values import Entry, Scopes, Secret, Unpicklable
from valetkey.vault import names
from valetkey.vault.asking import asked_scopes, name_scopes, refuse_person, token_request
from valetkey.vault.desk import Desk, load_app, stamp
from valetkey.vault.proving import found_secrets, kept_elsewhere, proven, unproven
from valetkey.vault.records import App, Asked, Connection, Pending
from valetkey.vault.registry import refuse_public
from valetkey.vault.renew import with_tokens
from valetkey.vault.saving import keep

PENDING_SECONDS: Final = 600.0
"""How long a person has to consent; RFC 6749 gives no number, ten minutes is what it recommends for codes."""

USED_SECONDS: Final = 86_400.0
"""How long a used state is remembered, so that its second use can be called by its name."""

STATE_BYTES: Final = 32
VERIFIER_BYTES: Final = 32
"""RFC 7636 section 4.1 recommends 32 octets."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Be what a connection shall be: its scopes and parameters, and hosts beyond the provider's own."""

    scopes: tuple[str, ...] = ()
    audience: str = ""
    resource: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    hosts: tuple[str, ...] = ()

    def asked(self, app: App, default: tuple[str, ...], before: Asked) -> Asked:
        """Return what will be asked for: the wish, and where it says nothing what was wished for `before`.

        Scopes that nobody named are what the app says, else the provider's usual ones.
        """
        named = self.scopes or (before.scopes if before.named else ())
        return Asked(
            scopes=named or app.scopes or default,
            audience=self.audience or before.audience,
            resource=self.resource or before.resource,
            extra={**before.extra, **self.extra},
            subject=self.subject or before.subject,
            named=bool(named),
        )


def asked_by(desk: Desk, name: str, wish: Wish, app: App, default: tuple[str, ...]) -> Plan[Asked]:
    """Return what will be asked for: a connection that is connected again is asked for as it was."""
    entry = yield from load(names.connection_record(name))
    before = None if entry is None else desk.connection(name, entry)
    return wish.asked(app, default, Asked() if before is None or before.revoked_at else before.asked)


@dataclass(frozen=True, slots=True)
class Started(Unpicklable):
    """Be a link for a person. The URL holds the state, so it is shown to that person only."""

    url: str = field(repr=False)
    connection: str
    expires_at: datetime


def begin(desk: Desk, name: str, wish: Wish, *, redirect_uri: str, binding: Secret) -> Plan[Started]:
    """Make a link to consent by; `binding` is a secret that only the starter holds."""
    app_name, label = names.split(name)
    app = yield from load_app(desk, app_name)
    provider = desk.provider(app)
    client = unproven(desk, app, provider)
    if kept_elsewhere(app):
        yield from found_secrets(app)  # a manager that is down is told now, and not to a person who has just consented
    asked = yield from asked_by(desk, name, wish, app, tuple(provider.scopes))
    state = _text((yield from luck(STATE_BYTES)))
    verifier = verifier_from((yield from luck(VERIFIER_BYTES))) if provider.asking.pkce == "S256" else None
    moment = (yield from now()).timestamp()
    pending = Pending(
        app=app_name,
        label=label,
        redirect_uri=redirect_uri,
        binding=_hashed(binding),
        started_at=moment,
        expires_at=moment + PENDING_SECONDS,
        state=state,
        verifier=verifier,
        asked=asked,
        hosts=wish.hosts,
    )
    url = authorization_url(
        client,
        redirect_uri=redirect_uri,
        scopes=Scopes(asked.scopes),
        state=state,
        challenge=None if verifier is None else challenge(verifier),
        extra={**app.authorize_params, **asked.extra, **({"audience": asked.audience} if asked.audience else {})},
        resource=asked.resource,
    )
    record = names.pending_record(state)
    if not (yield from swap(record, 0, desk.seal_pending(record, pending, "pending", pending.expires_at))):
        raise AlreadyExists("this state was drawn before: the source of randomness is broken")
    yield from note("connect.started", name)
    return Started(url, name, datetime.fromtimestamp(pending.expires_at, UTC))


def finish(desk: Desk, answer: Secret | str, *, binding: Secret) -> Plan[Connection]:
    """Take the answer that came to the redirect URI, redeem its code and keep the tokens.

    The answer is better a Secret: it holds the code, and what stands in a frame is shown by tracebacks with locals.

    Raises CallbackRefused (what came is not for us), ConsentDenied, and the errors of a token request.
    """
    held = answer if isinstance(answer, Secret) else Secret(answer)
    del answer
    pending = yield from _use(desk, held, binding)
    name, scopes = f"{pending.app}/{pending.label}", pending.asked.scopes
    try:
        app = yield from load_app(desk, pending.app)
        provider = desk.provider(app)
        scopes = (*scopes, *provider.offline_scopes)
        client = unproven(desk, app, provider)
        expected = Expected(
            state=pending.state,
            issuer=provider.endpoints.issuer,
            redirect_uri=pending.redirect_uri,
            requires_iss=provider.asking.sends_iss,
        )
        code = read_redirect(held.reveal(), expected, client)
        wanted = Connection(
            app=pending.app,
            label=pending.label,
            grant="authorization_code",
            created_at=pending.started_at,
            asked=pending.asked,
            hosts=pending.hosts,
            kept=_kept(code, provider),
        )
        place = yield from place_of(desk, wanted)
        tokens, asked_at = yield from proven(desk, app, provider, lambda _, client: _redeemed(client, pending, code))
    except ValetkeyError as refusal:
        yield from note("connect.refused", name, "refused", refusal.code)
        name_scopes(refusal, scopes)
        _used_up(refusal, name)
        raise
    return (yield from keep_new(desk, place, tokens, provider, asked_at))


def _used_up(refusal: ValetkeyError, name: str) -> None:
    """Say where the weather was bad that trying again later means to begin again: an answer is good once."""
    if isinstance(refusal, Weather):
        refusal.fix = f"this login is used up: `valetkey connect {name}` begins another; {refusal.fix}"


def _redeemed(client: Client, pending: Pending, code: AuthorizationCode) -> Plan[tuple[TokenAnswer, datetime]]:
    asked = yield from stamp()
    request = code_request(client, code, verifier=pending.verifier, stamp=asked, resource=pending.asked.resource)
    response = yield from send(request)
    return read_token(client, response, asked=Scopes(pending.asked.scopes), sent=request.secrets), asked.now


def _kept(code: AuthorizationCode, provider: Provider) -> dict[str, str]:
    """Return what a callback says beside the code. Where tokens may go is for the token endpoint to say, not for it."""
    return {name: text for name, text in code.kept.items() if name not in provider.api.hosts_from}


def _use(desk: Desk, answer: Secret, binding: Secret) -> Plan[Pending]:
    """Find the pending authorization of an answer and mark it used; raises CallbackRefused."""
    state = state_of(answer.reveal())
    record = names.pending_record(state)
    entry = yield from load(record)
    if entry is None:
        raise CallbackRefused(
            "this answer has a state that was never given out here",
            code="state_unknown",
            cause="the link is older than a day, of another vault, or forged",
        )
    pending = desk.pending(record, entry)
    moment = (yield from now()).timestamp()
    name = f"{pending.app}/{pending.label}"
    refusal = _unusable(pending, binding, moment)
    if refusal is None:
        used = msgspec.structs.replace(pending, used_at=moment, state=Secret(""), verifier=None)
        forgotten_at = moment + USED_SECONDS
        if (yield from swap(record, entry.version, desk.seal_pending(record, used, "used", forgotten_at))):
            return pending
        refusal = _used()
    yield from note("connect.refused", name, "refused", refusal.code)
    raise refusal


def _unusable(pending: Pending, binding: Secret, moment: float) -> CallbackRefused | None:
    if not hmac.compare_digest(pending.binding, _hashed(binding)):
        return CallbackRefused(
            "this answer belongs to a link that was started elsewhere",
            code="state_not_yours",
            cause="the link was opened in another browser or by another person than it was made for",
        )
    if pending.used_at:
        return _used()
    if moment >= pending.expires_at:
        return CallbackRefused(
            "this link has expired",
            code="state_expired",
            cause=f"consent came later than {PENDING_SECONDS / 60:.0f} minutes after the link was made",
        )
    return None


def _used() -> CallbackRefused:
    return CallbackRefused(
        "this answer was used before",
        code="state_used",
        cause="the page was loaded again, or somebody else was given the same answer",
    )


def connect_machine(desk: Desk, name: str, wish: Wish, grant: GrantName) -> Plan[Connection]:
    """Obtain the first token where no person is needed (client credentials, JWT bearer) and keep it.

    Raises InvalidInput for another grant, and for a public client's client credentials.
    """
    app_name, label = names.split(name)
    refuse_person(name, grant)
    app = yield from load_app(desk, app_name)
    provider = desk.provider(app)
    refuse_public(app, provider, grant)
    unproven(desk, app, provider)
    moment = (yield from now()).timestamp()
    wanted = Connection(
        app=app_name,
        label=label,
        grant=grant,
        created_at=moment,
        asked=(yield from asked_by(desk, name, wish, app, ())),
        hosts=wish.hosts,
    )
    yield from note("connect.started", name)
    place = yield from place_of(desk, wanted)
    try:
        answer, asked_at = yield from proven(desk, app, provider, partial(_granted, desk, wanted))
    except ValetkeyError as refusal:
        yield from note("connect.refused", name, "refused", refusal.code)
        name_scopes(refusal, asked_scopes(provider, wanted))
        raise
    return (yield from keep_new(desk, place, answer, provider, asked_at))


def _granted(desk: Desk, wanted: Connection, app: App, client: Client) -> Plan[tuple[TokenAnswer, datetime]]:
    asked = yield from stamp()
    request = token_request(desk, client, app, wanted, asked)
    response = yield from send(request)
    return read_token(client, response, asked=Scopes(wanted.asked.scopes), sent=request.secrets), asked.now


@dataclass(frozen=True, slots=True)
class Place:
    """Be where a new grant goes: the connection without its tokens, and the version it takes the place of."""

    wanted: Connection
    version: int


def place_of(desk: Desk, wanted: Connection) -> Plan[Place]:
    """Look where a new grant goes, before it is redeemed: a store that cannot be read then would lose it.

    A connection that was there keeps its name and history, not its tokens.
    """
    entry = yield from load(names.connection_record(wanted.name))
    if entry is None:
        return Place(wanted, 0)
    before = desk.connection(wanted.name, entry)
    placed = msgspec.structs.replace(
        wanted,
        created_at=before.created_at,
        generation=before.generation,
        hosts=wanted.hosts or before.hosts,
        rotates=before.rotates,
        told=before.told,
    )
    return Place(placed, entry.version)


def keep_new(desk: Desk, place: Place, answer: TokenAnswer, provider: Provider, asked_at: datetime) -> Plan[Connection]:
    """Save a new grant in its place; its lifetimes count from when it was asked for."""
    moment = asked_at.timestamp()
    wanted = place.wanted
    made = msgspec.structs.replace(
        with_tokens(wanted, answer, moment),
        kept={**wanted.kept, **answer.kept},
        refreshed_at=moment,
        generation=wanted.generation + 1,
        margin=float(provider.refresh.margin_seconds),
        idle=provider.refresh.idle_days * 86_400.0,
        consented_at=moment,
    )
    made = msgspec.structs.replace(made, first_end=made.tokens.refresh_expires_at if made.tokens else None)
    saved = yield from keep(desk, place.version, made, replaces=True)
    with suppress(StoreUnavailable):  # the grant is safe now: a log that is down is its own trouble
        yield from note("connection.reconnected" if place.version else "connection.created", made.name)
    return saved


def forget_expired(record: str) -> Plan[bool]:
    """Forget a pending authorization whose time has come; say whether it was forgotten."""
    entry: Entry | None = yield from load(record)
    if entry is None or entry.due_at is None or entry.due_at > (yield from now()):
        return False
    return (yield from swap(record, entry.version, None))


def _text(drawn: bytes) -> Secret:
    return Secret(urlsafe_b64encode(drawn).rstrip(b"=").decode())


def _hashed(binding: Secret) -> str:
    return hashlib.sha256(b"valetkey binding\0" + binding.reveal().encode()).hexdigest()
