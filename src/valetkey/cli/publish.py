"""`valetkey publish`: where tokens are kept up to date for programs that only read. What may not be here: how."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from valetkey.cli.base import Group, Session
from valetkey.cli.completing import complete_connections
from valetkey.cli.show import clean, moment, out, out_json, say, table

if TYPE_CHECKING:
    from valetkey.vault.publishing import Publication


@click.group(cls=Group)
def publish() -> None:
    """Keep access tokens up to date in a file or a secret manager."""


@publish.command()
@click.argument("name", metavar="APP/LABEL", shell_complete=complete_connections)
@click.argument("target")
@click.option(
    "--form", type=click.Choice(["json", "token"]), default="json", show_default=True, help="What is written."
)
@click.pass_obj
def add(session: Session, *, name: str, target: str, form: Literal["json", "token"]) -> None:
    """Publish a connection's access token to TARGET, now and after each renewal.

    TARGET is file:/PATH, vault:MOUNT/PATH or aws-sm:NAME. `valetkey keep` or `valetkey serve` must run: they publish
    what was renewed. Anybody who can read there has the token for as long as it lives.
    """
    with session.open() as vault:
        made = vault.publisher().add(name, target, form=form)
    if session.json:
        out_json(_shown(made))
    else:
        out(f"{clean(name)}: published to {clean(target)}")


@publish.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """List what is published where."""
    with session.open() as vault:
        found = vault.publisher().publications()
    if session.json:
        out_json([_shown(one) for one in found])
    elif not found:
        say("nothing is published; `valetkey publish add` changes that")
    else:
        rows = [(one.connection, one.target, one.form, moment(_at(one)), _is(one)) for one in found]
        table(("CONNECTION", "WHERE", "FORM", "LAST WRITTEN", "IT IS"), rows)


@publish.command()
@click.argument("name", metavar="APP/LABEL", shell_complete=complete_connections)
@click.argument("target")
@click.option("--leave", is_flag=True, help="Leave what stands there.")
@click.pass_obj
def rm(session: Session, *, name: str, target: str, leave: bool) -> None:
    """Publish to TARGET no more; a file is removed, a secret is blanked.

    Where that cannot be done now, `valetkey keep` or `valetkey serve` do it later, and the same command does too.
    """
    with session.open() as vault:
        vault.publisher().remove(name, target, leave=leave)
    if session.json:
        out_json({"connection": name, "target": target, "removed": True})
    else:
        out(f"{clean(name)}: published to {clean(target)} no more")


@publish.command()
@click.argument("name", metavar="[APP/LABEL]", default="", shell_complete=complete_connections)
@click.pass_obj
def now(session: Session, *, name: str) -> None:
    """Write every publication now, or those of one connection; also what stands there already."""
    with session.open() as vault:
        publisher = vault.publisher()
        records = publisher.records(name)
        written = [writing for record in records if (writing := publisher.write(record, again=True)) is not None]
    if session.json:
        out_json({"written": len(written)})
    else:
        out(f"{len(written)} of {len(records)} written")


def _is(publication: Publication) -> str:
    """Return in a word how a publication is."""
    if publication.ending:
        return f"being taken away ({publication.error})" if publication.error else "being taken away"
    return publication.error or "well"


def _at(publication: Publication) -> datetime | None:
    return datetime.fromtimestamp(publication.published_at, UTC) if publication.published_at else None


def _shown(publication: Publication) -> dict[str, Any]:
    at = _at(publication)
    shown = {"connection": publication.connection, "target": publication.target, "form": publication.form}
    return {
        **shown,
        "published_at": at.isoformat() if at else None,
        "failures": publication.failures,
        "error": publication.error,
        "ending": publication.ending,
        "token_fingerprint": publication.published,
    }
