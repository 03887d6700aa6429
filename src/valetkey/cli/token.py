"""`valetkey token`: print a token and nothing else. The shortest way to a fresh one is in main.py."""

from __future__ import annotations

import click

from valetkey.cli.base import Command, Session
from valetkey.cli.show import out, out_json
from valetkey.values import Scopes


@click.command(cls=Command)
@click.argument("name", metavar="APP/LABEL")
@click.option("--scope", "scopes", multiple=True, help="Demand these scopes (repeat, or separate by blanks).")
@click.pass_obj
def token(session: Session, *, name: str, scopes: tuple[str, ...]) -> None:
    """Print a fresh access token and nothing else.

    It can stand inside $(...). The token is renewed first where that is needed, once, whoever else asks at the same
    time. As the argument of another program it can be seen by every user of the machine: `valetkey curl` and
    `valetkey exec` avoid that.
    """
    with session.open() as vault:
        given = vault.token(name, scopes=Scopes(" ".join(scopes).split()))
    if not session.json:
        out(given.reveal())
        return
    expires_at = None if given.expires_at is None else given.expires_at.isoformat(timespec="seconds")
    out_json({"token": given.reveal(), "type": given.kind, "expires_at": expires_at, "scopes": list(given.scopes)})
