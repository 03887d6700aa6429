"""`valetkey app secret`: change an app's secret without an outage. What may not be here: how (vault/rotation.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from valetkey.cli import ask
from valetkey.cli.base import FormCommand, Group, Session
from valetkey.cli.completing import complete_apps, complete_connections
from valetkey.cli.show import clean, facts, moment, out, out_json, say
from valetkey.errors import InvalidInput

if TYPE_CHECKING:
    from valetkey.vault.appsecret import AppSecretInfo, NewSecret, ProofInfo

_DAY = click.DateTime(["%Y-%m-%d"])


@click.group(cls=Group)
def secret() -> None:
    """Change an app's secret without an outage: stage, trial, promote; roll back if need be.

    The new secret is kept beside the one in use, tried on one connection, and only then used for all. If the provider
    ends the one in use before that, the staged one is used at once; docs/rotation.md has the whole story.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGiven:
    """Be what `valetkey app secret stage` was given."""

    name: str
    secret_stdin: bool
    secret_ref: str
    private_key: str | None
    private_key_ref: str
    key_alg: str
    key_id: str
    token_auth: str
    expires: datetime | None


@secret.command(cls=FormCommand, form=NewGiven)
@click.argument("name", shell_complete=complete_apps)
@click.option("--secret-stdin", is_flag=True, help="Read the new secret from standard input; else it is asked for.")
@click.option("--secret-ref", default="", metavar="REF", help="Where the new secret is kept: vault:PATH#FIELD, …")
@click.option("--private-key", metavar="FILE", help="A new private key: PEM, a JWK, or a service account's JSON file.")
@click.option("--private-key-ref", default="", metavar="REF", help="Where the new private key is kept.")
@click.option("--key-alg", default="", help="What the new key signs with.")
@click.option("--key-id", default="", help="The new key's id (kid) at the provider.")
@click.option("--token-auth", default="", help="How the client proves itself with it, if that changes.")
@click.option("--expires", type=_DAY, metavar="DATE", help="The day it ends (2027-12-31), for `valetkey forecast`.")
def stage(session: Session, given: NewGiven) -> None:
    """Keep a new secret, key or reference for app NAME beside the one in use, which goes on being used."""
    new = _new(given)
    with session.open() as vault:
        shown = vault.app_secret(given.name).stage(new)
    _say(session, shown, "staged; the one in use is used on")
    _next(session, f"valetkey app secret trial {clean(given.name)} {clean(given.name)}/LABEL")


def _new(given: NewGiven) -> NewSecret:
    from valetkey.cli.keyfiles import read_app_key
    from valetkey.vault.appsecret import NewSecret

    several = [bool(one) for one in (given.secret_stdin, given.secret_ref, given.private_key, given.private_key_ref)]
    if sum(several) > 1:
        raise InvalidInput("one thing is staged at a time", fix="give a secret, a key, or a reference to one of them")
    key = read_app_key(given.private_key, given.key_alg, given.key_id) if given.private_key else None
    typed = None
    if given.secret_stdin:
        typed = ask.secret_line("new client secret")
    elif not any(several):
        typed = ask.secret_prompt("new client secret", instead="--secret-stdin reads it from standard input")
    return NewSecret(
        secret=typed,
        secret_ref=given.secret_ref,
        private_key=key.pem if key else None,
        private_key_ref=given.private_key_ref,
        key_alg=key.alg if key else given.key_alg,
        key_id=key.key_id if key else given.key_id,
        method=given.token_auth,
        expires_at=_utc(given.expires),
    )


def _utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=UTC)


@secret.command()
@click.argument("name", shell_complete=complete_apps)
@click.argument("connection", shell_complete=complete_connections)
@click.pass_obj
def trial(session: Session, *, name: str, connection: str) -> None:
    """Renew CONNECTION with the staged secret of app NAME; if the provider refuses it, nothing has changed."""
    with session.open() as vault:
        shown = vault.app_secret(name).trial(connection)
    _say(session, shown, f"the staged secret works: {clean(connection)} was renewed with it")
    _next(session, f"valetkey app secret promote {clean(name)}")


@secret.command()
@click.argument("name", shell_complete=complete_apps)
@click.option("--untried", is_flag=True, help="Although it was not tried on a connection.")
@click.option("--old-ends", type=_DAY, metavar="DATE", help="The day the provider ends the one in use until now.")
@click.pass_obj
def promote(session: Session, *, name: str, untried: bool, old_ends: datetime | None) -> None:
    """Use the staged secret of app NAME from now on; the previous one is kept, to roll back to."""
    with session.open() as vault:
        shown = vault.app_secret(name).promote(untried=untried, old_ends=_utc(old_ends))
    _say(session, shown, "promoted; the previous one is kept")
    _next(session, f"end the old one in the provider's console, then valetkey app secret forget {clean(name)}")


@secret.command("roll-back")
@click.argument("name", shell_complete=complete_apps)
@click.pass_obj
def roll_back(session: Session, *, name: str) -> None:
    """Use the previous secret of app NAME again; the one in use until now is staged."""
    with session.open() as vault:
        shown = vault.app_secret(name).roll_back()
    _say(session, shown, "rolled back; the other one is staged")


@secret.command()
@click.argument("name", shell_complete=complete_apps)
@click.pass_obj
def forget(session: Session, *, name: str) -> None:
    """Drop the secret of app NAME that is not in use, staged or previous."""
    with session.open() as vault:
        shown = vault.app_secret(name).forget()
    _say(session, shown, "forgotten; the one in use stays")


@secret.command()
@click.argument("name", shell_complete=complete_apps)
@click.pass_obj
def show(session: Session, *, name: str) -> None:
    """Show which secrets app NAME has: fingerprints, states and dates, never a secret."""
    with session.open() as vault:
        shown = vault.app_secret(name).show()
    if session.json:
        out_json(shown.to_dict())
        return
    for one in (shown.in_use, shown.other):
        if one is not None:
            _facts(one)


_STATES = {"in_use": "in use", "staged": "staged", "previous": "previous"}


def _facts(one: ProofInfo) -> None:
    out(f"{_STATES[one.state]}: {clean(one.kind)} {clean(one.fingerprint)}")
    came = ("refused: " + one.refused) if one.refused else "it worked"
    facts(
        {
            "  proves itself by": one.method or "the provider's usual way",
            "  since": moment(one.since),
            "  ends": moment(one.expires_at),
            "  tried": f"{moment(one.tried_at)} on {one.tried_on}: {came}" if one.tried_at else "",
        }
    )


def _say(session: Session, shown: AppSecretInfo, what: str) -> None:
    if session.json:
        out_json(shown.to_dict())
    else:
        out(f"{clean(shown.app)}: {what}")


def _next(session: Session, command: str) -> None:
    if not session.json:
        say(f"next: {command}")
