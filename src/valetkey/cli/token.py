"""`valetkey token`: print a token and nothing else. The shortest way to a fresh one is in main.py."""

from __future__ import annotations

import click

from valetkey.cli.base import Command, Session
from valetkey.cli.completing import complete_connections
from valetkey.cli.show import out, out_json
from valetkey.values import Scopes


@click.command(cls=Command)
@click.argument("name", metavar="APP/LABEL", shell_complete=complete_connections)
@click.option("--scope", "scopes", multiple=True, help="Demand these scopes (repeat, or separate by blanks).")
@click.option("--resource", default="", metavar="URL", help="The token for this API, of several behind one grant.")
@click.option("--audience", default="", help="The same, where the provider calls it so (Auth0).")
@click.option("--part", default="", help='One of several tokens of one answer: "user" for Slack\'s person.')
@click.pass_obj
def token(session: Session, *, name: str, scopes: tuple[str, ...], resource: str, audience: str, part: str) -> None:
    """Print a fresh access token and nothing else.

    It can stand inside $(...). The token is renewed first where that is needed, once, whoever else asks at the same
    time. As the argument of another program it can be seen by every user of the machine: `valetkey curl` and
    `valetkey exec` avoid that.

    One grant may hold several tokens, each kept and renewed apart: --resource, --audience or --part names one.
    """
    with session.open() as vault:
        wanted = Scopes(" ".join(scopes).split())
        given = vault.token(name, scopes=wanted, resource=resource, audience=audience, part=part)
    if not session.json:
        out(given.reveal())
        return
    expires_at = None if given.expires_at is None else given.expires_at.isoformat(timespec="seconds")
    out_json({"token": given.reveal(), "type": given.kind, "expires_at": expires_at, "scopes": list(given.scopes)})
