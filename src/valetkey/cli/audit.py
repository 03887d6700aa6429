"""`valetkey audit`: who did what, and proof of it. What may not be here: what a chain is."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from valetkey.cli.auditlines import Wanted, prune_moment, show_lines, show_next
from valetkey.cli.auditproof import by_public_key, export_of, readable, show_report
from valetkey.cli.base import FormCommand, Group, Session
from valetkey.cli.completing import complete_apps, complete_connections
from valetkey.cli.show import out_bytes, out_json, say
from valetkey.errors import InvalidInput


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
@click.option(
    "--subject",
    default="",
    metavar="NAME",
    shell_complete=complete_connections,
    help="Of this connection, app, listener or issuer.",
)
@click.option(
    "--app", default="", metavar="NAME", shell_complete=complete_apps, help="Of this app and of all its connections."
)
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
@click.option("--before", default="", metavar="TIME", help="Delete what is older than this: 2026-03-01, or 90d ago.")
@click.option("--keep", default="", metavar="SPAN", help="Keep the last 90d (s, m, h, d, w), delete what is older.")
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
@click.argument("file", metavar="FILE")
@click.pass_obj
def export(session: Session, *, file: str) -> None:
    """Write the whole audit log to a new file, or to standard output (-), as signed lines of JSON.

    `valetkey audit verify --file FILE` proves it, also elsewhere: with the vault's key, or with the public key alone,
    which this shows. A log that does not hold is written unsigned, and the exit code is 7.
    """
    with session.open() as vault:
        if file == "-":
            report, records = vault.audit.records()
            for record in records:
                out_bytes(record)
        else:
            report = vault.audit.export(file)
        public = vault.audit.public_key()
    if session.json and file != "-":
        out_json({"file": file, "lines": report.lines, "writers": len(report.chains), "public_key": public})
    elif not session.json:
        say(f"{report.lines} lines of {len(report.chains)} writers; the public key, to be kept elsewhere: {public}")
    report.proven()


@audit.command()
@click.option("--file", default="", metavar="FILE", help="Prove this export instead (- is standard input).")
@click.option("--public-key", default="", metavar="HEX", help="Prove the file by this key alone, without the vault.")
@click.option("--against", default="", metavar="FILE", help="Prove also that the log goes on from this export.")
@click.pass_obj
def verify(session: Session, *, file: str, public_key: str, against: str) -> None:
    """Prove that no line of the audit log was edited, removed, moved or put in, and that none is missing at an end.

    Exit code 7 and the error audit_broken where something does not hold: the first broken place of each writer, by a
    reason of docs/audit.md. Others may go on writing meanwhile. With --against an older export is compared, which
    shows a database that was put back to an older copy of itself.
    """
    if (public_key and not file) or (file and against):
        raise InvalidInput("these options do not go together", fix="--file FILE [--public-key HEX], or --against FILE")
    if public_key:
        report = by_public_key(file, public_key)
    else:
        with session.open() as vault, export_of(file) as records:
            if file:
                report = vault.audit.examine_file(records)
            else:
                with readable(against):
                    report = vault.audit.examine_against(against) if against else vault.audit.examine()
    show_report(report, as_json=session.json)
    report.proven()
