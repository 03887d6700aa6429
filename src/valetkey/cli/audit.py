"""`valetkey audit`: who did what, and proof of it. What may not be here: what a chain is."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import click

from valetkey.cli.base import Group, Session
from valetkey.cli.show import facts, out_json, say, table

if TYPE_CHECKING:
    from valetkey.audit.report import Finding


@click.group(cls=Group)
def audit() -> None:
    """Show who did what, and prove it."""


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


@audit.command()
@click.pass_obj
def verify(session: Session) -> None:
    """Prove that no line of the audit log was edited, removed, moved or put in, and that none is missing at an end.

    Exit code 7 and the error audit_broken where something does not hold: the first broken place of each writer, by a
    reason of docs/audit.md. Others may go on writing meanwhile.
    """
    with session.open() as vault:
        report = vault.audit.examine()
    if session.json:
        out_json(report.to_dict())
    else:
        if report.findings:
            rows = [
                (one.reason, one.writer or "", one.ordinal or "", one.number or "", _when(one))
                for one in report.findings
            ]
            table(("REASON", "WRITER", "ORDINAL", "LINE", "TIME (UTC)"), rows)
        facts(
            {
                "lines": report.lines,
                "writers": len(report.chains),
                "pruned": sum(chain.pruned for chain in report.chains),
                "unchained": report.unchained and f"{report.unchained} lines from before there were chains, not proven",
                "from": report.first and f"{report.first:%Y-%m-%d %H:%M:%S} UTC",
                "to": report.last and f"{report.last:%Y-%m-%d %H:%M:%S} UTC",
            }
        )
    report.proven()


def _when(finding: Finding) -> str:
    if finding.at is not None:
        return f"{finding.at:%Y-%m-%d %H:%M:%S}"
    return "" if finding.after is None else f"after {finding.after:%Y-%m-%d %H:%M:%S}"
