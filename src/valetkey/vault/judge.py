"""What to do about a connection when somebody wants its token: a decision, and nothing else.

Pure: a record, the time and a wish go in; Serve, Wait, Renew or an error comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeAlias

import msgspec

from valetkey.errors import (
    ClientRefused,
    InsufficientScope,
    NeedsReconnect,
    NotConnected,
    ProviderError,
    ProviderUnavailable,
    Revoked,
    ValetkeyError,
)
from valetkey.values import Entry, Scopes, Token
from valetkey.vault.desk import Desk, fingerprint, fresh_until
from valetkey.vault.records import PERSON_GRANTS, Connection, TokenSet, Trouble, owner_of

LOOK_AGAIN: Final = 0.05
"""Seconds between two looks while another process renews; a refresh takes tenths of a second."""


class Demand(msgspec.Struct, frozen=True):
    """Be what a caller wants: scopes it needs, a token it saw refused (its fingerprint), a renewal in any case.

    `part` is one of several tokens of a connection: "user", "resource=https://…", "audience=…"; empty: its own.
    `trial` renews with the staged secret of the app, and lets a refusal change nothing.
    """

    scopes: tuple[str, ...] = ()
    rejected: str = ""
    force: bool = False
    part: str = ""
    trial: bool = False


ANY: Final = Demand()
"""The usual wish: any token of the connection's own that is fresh."""


@dataclass(frozen=True, slots=True)
class Serve:
    """Hand out this token. It may be handed out again, without asking anew, until `fresh_until`.

    `box` is what it was opened from, where nothing was renewed for it.
    """

    token: Token
    fresh_until: float
    box: bytes = field(default=b"", repr=False, compare=False)


class Wait(msgspec.Struct, frozen=True):
    """Somebody else renews: look again after so many seconds."""

    seconds: float


class Renew(msgspec.Struct, frozen=True):
    """Renew now. `fallback` is what may be handed out if that fails for a time."""

    fallback: Token | None


class Refuse(msgspec.Struct, frozen=True):
    """Give this error."""

    error: ValetkeyError


Verdict: TypeAlias = Serve | Wait | Renew | Refuse


def glance(desk: Desk, name: str, entry: Entry | None, moment: float, demand: Demand) -> Serve | None:
    """Return a token if an entry that was loaded has one to hand out, without a renewal; raises NotFound.

    `moment` is seconds since 1970. No plan: the keeper comes by here for every token, and the steps of one would take
    half as long as the store.
    """
    connection = desk.connection(name, entry)
    verdict = judge(connection, moment, demand, b"" if entry is None else entry.box)
    return verdict if isinstance(verdict, Serve) else None


def judge(connection: Connection, moment: float, demand: Demand, box: bytes = b"") -> Verdict:
    """Decide what a demand gets at a moment; `box` is what the connection was opened from."""
    refusal = _out_of_question(connection, demand)
    if refusal is not None:
        return Refuse(refusal)
    tokens = connection.held(demand.part)
    alive = _alive(tokens, moment, demand)
    until = fresh_until(connection, demand.part)
    if alive is not None and moment < until and not demand.force:
        return Serve(alive, until, box)
    lease = connection.lease
    if lease is not None and moment < lease.until:
        if alive is not None and not demand.force:
            return Serve(alive, moment)
        return Wait(min(LOOK_AGAIN, lease.until - moment))
    stop = _standing_refusal(connection, moment, demand)
    if stop is None:
        return Renew(None if demand.force else alive)
    return Refuse(stop) if alive is None or demand.force else Serve(alive, moment)


def _out_of_question(connection: Connection, demand: Demand) -> ValetkeyError | None:
    """Return the error that no renewal could mend."""
    name = connection.name
    if connection.revoked_at:
        return Revoked(f"connection {name} was disconnected", fix=f"connect it again with `valetkey connect {name}`")
    if connection.tokens is None and connection.grant in PERSON_GRANTS:
        return NotConnected(f"nobody has consented to {name} yet", fix=f"`valetkey connect {name}`")
    tokens = connection.held(demand.part)
    if tokens is None and demand.part != "" and owner_of(demand.part) == demand.part:
        return NotConnected(
            f"connection {name} has no {demand.part} token",
            cause="it was not asked for when the connection was made, or this provider gives none",
            fix=f"connect again and ask for what it needs: `valetkey connect {name}`",
        )
    if not demand.scopes or (tokens is None and demand.part):
        return None
    there = Scopes(tokens.scopes if tokens else connection.asked.scopes)
    lacking = there.missing(demand.scopes)
    if not lacking:
        return None
    from shlex import quote  # late: a fresh token needs no words; and the provider chose the names of what it granted

    wanted = Scopes((*connection.asked.scopes, *there, *lacking))  # a new consent replaces the one that was given
    return InsufficientScope(
        f"connection {name} lacks {lacking.join()}",
        cause="these scopes were not granted when the connection was made",
        fix=f"connect again and ask for all of them: `valetkey connect {name} --scope {quote(wanted.join())}`",
        missing=lacking.join(),
    )


def _standing_refusal(connection: Connection, moment: float, demand: Demand) -> ValetkeyError | None:
    """Return why a renewal must not be tried now."""
    trouble = connection.trouble
    if trouble is not None and trouble.part != owner_of(demand.part):
        trouble = None  # of another token
    if trouble is not None and trouble.sort == "grant":
        return reconnect(connection, trouble)
    if connection.grant in PERSON_GRANTS and connection.refresh_token(demand.part) is None:
        return NeedsReconnect(
            f"the access token of {connection.name} is used up, and the provider gave no refresh token",
            reason="no_refresh_token",
            cause="the provider gives none, or wants a scope or parameter for it that this app does not send",
            fix=f"`valetkey connect {connection.name}`; `valetkey provider show` says what the provider wants",
        )
    if trouble is not None and moment < trouble.retry_at and not demand.force:
        return again(connection, trouble, moment)
    return None


def reconnect(connection: Connection, trouble: Trouble) -> NeedsReconnect:
    """Return the error for a grant that is gone for good."""
    return NeedsReconnect(
        f"connection {connection.name} must be connected again: {trouble.message}",
        reason=trouble.reason or trouble.code,
        cause=trouble.cause,
        fix=f"`valetkey connect {connection.name}`: it keeps its name, so no workflow changes",
        since=datetime.fromtimestamp(trouble.at, UTC).isoformat(timespec="seconds"),
    )


def again(connection: Connection, trouble: Trouble, moment: float) -> ProviderError:
    """Return the last failure as an error, while it is too early to try again."""
    kind = ClientRefused if trouble.sort == "client" else ProviderUnavailable
    wait = max(0.0, trouble.retry_at - moment)
    return kind(
        f"{connection.name}: {trouble.message}",
        code=trouble.code,
        cause=trouble.cause,
        fix=trouble.fix,
        failures=trouble.failures,
        retry_after=round(wait, 1),
    )


def _alive(tokens: TokenSet | None, moment: float, demand: Demand) -> Token | None:
    if tokens is None or (tokens.expires_at is not None and moment >= tokens.expires_at):
        return None
    if demand.rejected and demand.rejected == fingerprint(tokens.access):
        return None
    return token_of(tokens)


def token_of(tokens: TokenSet) -> Token:
    """Return a token set's access token as it is handed out."""
    until = None if tokens.expires_at is None else datetime.fromtimestamp(tokens.expires_at, UTC)
    return Token(tokens.access, tokens.kind, until, Scopes(tokens.scopes))
