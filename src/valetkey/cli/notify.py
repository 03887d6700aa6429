"""`valetkey notify`: who is told when a connection fails, recovers or will end. What may not be here: the telling."""

from __future__ import annotations

import secrets
import shlex
from typing import TYPE_CHECKING, Any

import click

from valetkey.cli import ask
from valetkey.cli.base import BEHIND, AfterDashes, Group, Session
from valetkey.cli.show import clean, out, out_json, say, table
from valetkey.errors import InvalidInput, ProviderUnavailable

if TYPE_CHECKING:
    from valetkey.vault.notices import Listener


@click.group(cls=Group)
def notify() -> None:
    """Tell a webhook or a command of trouble and of what is to come."""


@notify.command(cls=AfterDashes, tail="COMMAND [ARGUMENT]...")
@click.argument("name")
@click.argument("url", required=False, default="")
@click.option("--event", "kinds", multiple=True, help="Only this kind of news; repeatable [default: all].")
@click.option("--secret-stdin", is_flag=True, help="Read the webhook's secret (whsec_…) from standard input.")
@click.pass_context
def add(context: click.Context, *, name: str, url: str, kinds: tuple[str, ...], secret_stdin: bool) -> None:
    """Tell URL, or a command given behind --, under NAME.

    A webhook is signed as Standard Webhooks says; its secret is made here and shown once. A command gets the news as
    one line of JSON on its standard input. `valetkey keep` or `valetkey serve` must run: they do the telling.
    """
    from valetkey.vault.notices import Listener
    from valetkey.vault.webhook import new_secret

    session: Session = context.obj
    command = tuple(context.meta.get(BEHIND, ()))
    if bool(url) == bool(command):
        raise InvalidInput(
            "give a URL, or a command behind --",
            fix="`valetkey notify add desk https://example.com/hook`, or `valetkey notify add mail -- notify-send`",
        )
    if secret_stdin and not url:
        raise InvalidInput("a command needs no secret", fix="leave out --secret-stdin")
    given = ask.secret_line("webhook secret") if secret_stdin else None
    secret = (given or new_secret(secrets.token_bytes(32))) if url else None
    listener = Listener(name=name, created_at=0.0, url=url, secret=secret, command=command, kinds=kinds)
    with session.open() as vault:
        made = vault.add_listener(listener)
    shown = secret if given is None else None
    if session.json:
        out_json({**_shown(made), **({"secret": shown.reveal()} if shown is not None else {})})
        return
    out(f"{clean(made.name)}: will be told of {', '.join(made.kinds) or 'everything'}")
    if shown is not None:
        out("  the secret by which it can tell that the news is ours, shown only now:")
        out(f"  {shown.reveal()}")


@notify.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """List who is told."""
    with session.open() as vault:
        found = vault.listeners()
    if session.json:
        out_json([_shown(one) for one in found])
    elif not found:
        say("nobody is told; `valetkey notify add` changes that")
    else:
        rows = [(one.name, one.url or shlex.join(one.command), ", ".join(one.kinds) or "everything") for one in found]
        table(("NAME", "WHERE", "OF WHAT"), rows)


@notify.command()
@click.argument("name")
@click.pass_obj
def rm(session: Session, *, name: str) -> None:
    """Tell NAME no more."""
    with session.open() as vault:
        vault.remove_listener(name)
    if not session.json:
        out(f"{clean(name)}: is told no more")


@notify.command()
@click.argument("name")
@click.pass_obj
def test(session: Session, *, name: str) -> None:
    """Tell NAME something harmless now, and show what became of it."""
    with session.open() as vault:
        outcome = vault.test_listener(name)
    if not outcome.delivered:
        raise ProviderUnavailable(
            f"{clean(name)} did not take it: {outcome.word}",
            cause="a webhook must answer 2xx within 15 seconds, a command must end with 0 within 30",
            fix="`valetkey notify list` shows where it goes",
        )
    if session.json:
        out_json({"name": name, "delivered": True, "outcome": outcome.word})
    else:
        out(f"{clean(name)}: took it ({outcome.word})")


def _shown(listener: Listener) -> dict[str, Any]:
    where: dict[str, Any] = {"url": listener.url} if listener.url else {"command": list(listener.command)}
    return {"name": listener.name, **where, "events": list(listener.kinds) or "all"}
