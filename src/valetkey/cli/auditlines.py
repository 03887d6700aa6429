"""How lines of the audit log are shown, and how one says which lines: names, and moments as a date or as long ago.

What may not be here: commands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from valetkey.cli.show import clean, out, out_json, table
from valetkey.errors import InvalidInput

if TYPE_CHECKING:
    from valetkey.audit.ledger import Query
    from valetkey.audit.line import Line

UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])")
HEAD: Final = ("TIME (UTC)", "WHO", "WHAT", "ON", "OUTCOME", "REASON")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Be what `valetkey audit search` was asked for."""

    subject: str
    app: str
    kind: str
    outcome: str
    actor: str
    request: str
    fingerprint: str
    since: str
    until: str
    limit: int

    def query(self, now: datetime) -> Query:
        """Return what is looked for; raises InvalidInput."""
        from valetkey.audit.ledger import Query  # late, as all that is not needed to say what went wrong

        return Query(
            subject=self.subject,
            app=self.app,
            kind=self.kind,
            outcome=self.outcome,
            actor=self.actor,
            request=self.request,
            fingerprint=self.fingerprint,
            since=moment_of(self.since, now, "--since") if self.since else None,
            until=moment_of(self.until, now, "--until") if self.until else None,
        )


def moment_of(text: str, now: datetime, option: str) -> datetime:
    """Read a date or time of ISO 8601, UTC where it names no zone, or a time ago (90m, 2h ago); raises InvalidInput."""
    ago = AGO.fullmatch(text.removesuffix(" ago"))
    try:
        if ago is not None:
            return now - timedelta(seconds=int(ago[1]) * UNITS[ago[2]])
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{option} cannot be read as a time",
            fix=f"for example: {option} 2026-03-01, {option} 2026-03-01T12:30+01:00, or {option} 2h for two hours ago",
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def prune_moment(before: str, keep: str, now: datetime) -> datetime:
    """Return before which moment lines are deleted; raises InvalidInput."""
    if bool(before) == bool(keep):
        raise InvalidInput("say how much of the log to delete, in one way", fix="--keep 90d, or --before 2026-03-01")
    keep = keep.removesuffix(" ago")  # "the last 90d" is meant whichever way it is said
    if keep and AGO.fullmatch(keep) is None:
        raise InvalidInput("--keep takes a length of time", fix="for example: --keep 90d (s, m, h, d or w)")
    moment = moment_of(before or keep, now, "--before" if before else "--keep")
    if moment > now:
        raise InvalidInput("--before lies in the future", fix="name a moment that is over")
    return moment


def show_lines(lines: Sequence[Line], *, as_json: bool) -> None:
    """Write lines to standard output, as a table or as one array."""
    if as_json:
        out_json([line.to_dict() for line in lines])
    elif lines:
        table(HEAD, [_cells(line) for line in lines])


def show_next(line: Line, *, as_json: bool) -> None:
    """Write one line more, on a line of its own."""
    out(msgspec.json.encode(line.to_dict()).decode() if as_json else "  ".join(map(clean, _cells(line))).rstrip())


def _cells(line: Line) -> tuple[str, ...]:
    outcome = "…" if line.outcome == "unknown" and line.kind.endswith(".started") else line.outcome
    return (
        f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        line.actor,
        line.kind,
        line.subject,
        outcome,
        line.reason,
    )
