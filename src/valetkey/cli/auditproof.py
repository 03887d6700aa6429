"""What `valetkey audit verify` reads and shows: exports in files or on standard input, and reports.

What may not be here: commands, and how anything is proven.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from valetkey.cli.show import facts, out, out_json, table
from valetkey.errors import InvalidInput
from valetkey.values import shown_path

if TYPE_CHECKING:
    from valetkey.audit.report import Finding, Report


UNREADABLE: Final = frozenset(
    {errno.ENOENT, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
)
"""What the system says of a file's name, or of who may read it."""


@contextmanager
def readable(file: str) -> Iterator[None]:
    """Say in our words what the system says of a file that cannot be read; raises InvalidInput."""
    try:
        yield
    except OSError as refusal:
        if refusal.errno not in UNREADABLE:
            raise
        raise InvalidInput(
            f"{shown_path(file)} cannot be read: {refusal.strerror}", fix="name an export of `valetkey audit export`"
        ) from None


@contextmanager
def export_of(file: str) -> Iterator[Iterable[bytes]]:
    """Open an export, `-` for standard input, and none where nothing is named; raises InvalidInput."""
    if not file:
        yield ()
    elif file == "-":
        yield sys.stdin.buffer
    else:
        with readable(file):
            opened: io.BufferedReader = Path(file).open("rb")  # noqa: SIM115  # closed below, outside of what is worded
        with opened:
            yield opened


def by_public_key(file: str, public_key: str) -> Report:
    """Return what holds of an export by a public key; raises InvalidInput."""
    from valetkey.audit.files import examine_file  # late: only who proves needs it

    try:
        public = bytes.fromhex(public_key)
    except ValueError:
        public = b"no key"
    with export_of(file) as records:
        return examine_file(records, public=public)


def show_report(report: Report, *, as_json: bool) -> None:
    """Write what holds and what does not to standard output."""
    if as_json:
        out_json(report.to_dict())
        return
    if report.findings:
        rows = [(one.reason, one.writer, one.ordinal or "", one.number or "", _when(one)) for one in report.findings]
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
    counted = f"{_count(report.lines, 'line')} of {_count(len(report.chains), 'writer')}"
    if report.findings:
        out(f"the log does not hold: {_count(len(report.findings), 'broken place')}; {counted} hold")
    else:
        out(f"the log holds: {counted}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _when(finding: Finding) -> str:
    if finding.at is not None:
        return f"{finding.at:%Y-%m-%d %H:%M:%S}"
    return "" if finding.after is None else f"after {finding.after:%Y-%m-%d %H:%M:%S}"
