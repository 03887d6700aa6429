"""`valetkey audit`: who did what. What may not be here: writing to the log."""

from __future__ import annotations

from datetime import UTC

import click

from valetkey.cli.base import Group, Session
from valetkey.cli.show import out_json, say, table


@click.group(cls=Group)
def audit() -> None:
    """Show who did what."""


@audit.command()
@click.option("-n", "--lines", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many lines.")
@click.pass_obj
def tail(session: Session, *, lines: int) -> None:
    """Show the last lines of the audit log, the newest at the end. No secret is in them."""
    with session.open() as vault:
        found = vault.events(lines)
    if session.json:
        out_json([line.to_dict() for line in found])
    elif not found:
        say("the audit log is empty")
    else:
        rows = [
            (
                f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                line.actor,
                line.kind,
                line.subject,
                "…" if line.outcome == "unknown" and line.kind.endswith(".started") else line.outcome,
                line.reason,
            )
            for line in found
        ]
        table(("TIME (UTC)", "WHO", "WHAT", "ON", "OUTCOME", "REASON"), rows)
