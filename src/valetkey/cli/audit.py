"""`valetkey audit`: who did what, and proof of it. What may not be here: what a chain is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from valetkey.cli.auditlines import Wanted, prune_moment, show_lines, show_next
from valetkey.cli.base import FormCommand, Group, Session
from valetkey.cli.show import facts, out_json, say, table

if TYPE_CHECKING:
    from valetkey.audit.report import Finding


@click.group(cls=Group)
def audit() -> None:
    """Show who did what, and prove it."""


@audit.command()
@click.option("-n", "--lines", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.pass_obj
def tail(session: Session, *, lines: int, follow: bool) -> None:
    """Show the last lines of the audit log, the newest at the end. No secret is in them.

    With --follow and --json each line is one object on a line of its own.
    """
    with session.open() as vault:
        found = vault.events(lines)
        if not follow:
            show_lines(found, as_json=session.json)
        else:
            from valetkey.cli.keep import stopped_by_signals  # late: only who follows needs it

            for line in found:
                show_next(line, as_json=session.json)
            with stopped_by_signals() as stop:
                for line in vault.audit.follow(found, stop=stop):
                    show_next(line, as_json=session.json)
    if not found and not session.json:
        say("the audit log is empty")


@audit.command(cls=FormCommand, form=Wanted)
@click.option("--subject", default="", metavar="NAME", help="Of this connection, app, listener or issuer.")
@click.option("--app", default="", metavar="NAME", help="Of this app and of all its connections.")
@click.option("--kind", default="", metavar="KIND", help="Of this kind; `refresh.` with its dot is all that begin so.")
@click.option("--outcome", default="", metavar="WORD", help="With this outcome: ok, failed, refused, unknown.")
@click.option("--actor", default="", metavar="WHO", help="By this actor, such as cli:alice or api:billing.")
@click.option("--request", default="", metavar="ID", help="In this request.")
@click.option("--fingerprint", default="", metavar="TEXT", help="Of the token with this fingerprint.")
@click.option(
    "--since", default="", metavar="TIME", help="From this time on: 2026-03-01, 2026-03-01T12:30Z, or 2h ago."
)
@click.option("--until", default="", metavar="TIME", help="Before this time, written in the same way.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="The newest so many."
)
def search(session: Session, wanted: Wanted) -> None:
    """Find lines of the audit log, the newest at the end. All that is asked for must be so."""
    query = wanted.query(datetime.now(UTC))
    with session.open() as vault:
        found = vault.audit.search(query, wanted.limit)
    show_lines(found, as_json=session.json)
    if not found and not session.json:
        say("no line of the audit log is like that")
    elif len(found) == wanted.limit and not session.json:
        say(f"these are the newest {wanted.limit}; there may be more: --limit, or --until for older ones")


@audit.command()
@click.option(
    "--before", default="", metavar="TIME", help="Delete what is older than this: 2026-03-01, 2026-03-01T12:30Z."
)
@click.option("--keep", default="", metavar="TIME", help="Keep the last 90d (d, w, h) and delete what is older.")
@click.option("--dry-run", is_flag=True, help="Say how much that would be, and delete nothing.")
@click.pass_obj
def prune(session: Session, *, before: str, keep: str, dry_run: bool) -> None:
    """Delete the oldest lines of the audit log; what is left stays proven.

    The log is proven first, and nothing is deleted from one that does not hold. Others may go on writing. Killed in
    between, it has deleted less; the same command goes on.
    """
    moment = prune_moment(before, keep, datetime.now(UTC))
    with session.open() as vault:
        done = vault.audit.prune(moment, dry_run=dry_run)
    if session.json:
        out_json({"before": moment.isoformat(timespec="milliseconds"), "dry_run": dry_run, **done.to_dict()})
        return
    would = "would be deleted" if dry_run else "deleted"
    older = f", and {done.unchained} from before there were chains" if done.unchained else ""
    say(f"{done.lines} lines {would}, {done.writers} writers with all of theirs{older}")


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
