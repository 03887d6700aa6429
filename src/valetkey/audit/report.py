"""What came of looking at an audit log: each writer's lines, and each place that does not hold. Pure.

What may not be here: how a place is found (walk.py, verifying.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from valetkey.errors import AuditBroken

REASONS: Final[dict[str, str]] = {
    "edited": "a line, or the signature of the one before it, is not as it was written",
    "removed": "a line is missing",
    "reordered": "lines stand in another order than they were written in",
    "inserted": "a line was put in that the writer did not write there",
    "tail_cut": "the last lines of a writer are missing",
    "head_forged": "what the store keeps of a writer's last line, or of what was pruned, is not what valetkey wrote",
    "writer_missing": "a writer is missing with all its lines",
    "stray": "lines stand there of a writer that nobody counted, or whose lines were pruned",
    "unchained": "a line stands in no chain, and none such was there when the chains began",
    "roster_missing": "the roster, which counts the writers, is gone",
    "roster_forged": "the roster is not what valetkey wrote",
    "roster_rolled_back": "the roster is an older one: it does not count a writer that is there",
    "rolled_back": "a writer is not where it was in an export, or went another way since: an older copy was put back",
    "export_changed": "the export is not the file that was signed",
    "export_cut": "the export has no closing line: its end is missing",
    "export_unsigned": "the log did not hold when it was exported, so the export was not signed",
    "key_missing": "the key of the log is gone from the vault, so nothing of it can be proven",
}
"""Why a place does not hold: words that never change."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Be a place that does not hold.

    `number` is the place in the writer's chain (0: it concerns the writer as a whole), `at` what the line there says of
    its time, `after` the time of the last line before it that holds.
    """

    reason: str
    writer: str = ""
    ordinal: int = 0
    number: int = 0
    at: datetime | None = None
    after: datetime | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the place for programs."""
        said: dict[str, object] = {"reason": self.reason, "means": REASONS[self.reason]}
        said |= {name: value for name in ("writer", "ordinal", "number") if (value := getattr(self, name))}
        return said | {name: value for name in ("at", "after") if (value := _written(getattr(self, name)))}

    def __str__(self) -> str:
        """Return the place in words."""
        who = f"writer {self.writer}" if self.writer else f"writer number {self.ordinal}" if self.ordinal else "the log"
        where = f"{who}, line {self.number}" if self.number else who
        when = _written(self.at) or (f"after {_written(self.after)}" if self.after else "")
        return f"{where}{', ' + when if when else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Chain:
    """Be what was found of one writer: lines that hold, the first and the last of their times, how many were pruned."""

    writer: str
    ordinal: int
    lines: int = 0
    pruned: int = 0
    first: datetime | None = None
    last: datetime | None = None
    finding: Finding | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the chain for programs."""
        counted = {"writer": self.writer, "ordinal": self.ordinal, "lines": self.lines, "pruned": self.pruned}
        return counted | {name: _written(at) for name in ("first", "last") if (at := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Report:
    """Be what came of looking at a log. `findings` are the first broken place of each writer, and of the whole.

    `unchained` counts lines from before there were chains, which nothing proves.
    """

    chains: tuple[Chain, ...] = ()
    findings: tuple[Finding, ...] = ()
    unchained: int = 0

    @property
    def lines(self) -> int:
        """Return how many lines hold."""
        return sum(chain.lines for chain in self.chains)

    @property
    def first(self) -> datetime | None:
        """Return the earliest time of a line that holds."""
        return min((chain.first for chain in self.chains if chain.first), default=None)

    @property
    def last(self) -> datetime | None:
        """Return the latest time of a line that holds."""
        return max((chain.last for chain in self.chains if chain.last), default=None)

    def proven(self) -> Report:
        """Return this; raises AuditBroken, which names the first broken place."""
        if not self.findings:
            return self
        first, *others = self.findings
        facts: dict[str, Any] = {name: fact for name, fact in first.to_dict().items() if name != "means"}
        raise AuditBroken(
            f"the audit log does not hold: {first}",
            cause=REASONS[first.reason] + (f"; {len(others)} more places do not hold" if others else ""),
            places=len(self.findings),
            **facts,
        )

    def to_dict(self) -> dict[str, object]:
        """Return the report for programs."""
        counted: dict[str, object] = {"ok": not self.findings, "lines": self.lines, "writers": len(self.chains)}
        counted |= {"pruned": sum(chain.pruned for chain in self.chains), "unchained": self.unchained}
        counted |= {name: _written(at) for name in ("first", "last") if (at := getattr(self, name)) is not None}
        found: Iterator[dict[str, object]] = (finding.to_dict() for finding in self.findings)
        return counted | {"findings": list(found), "chains": [chain.to_dict() for chain in self.chains]}


def _written(at: datetime | None) -> str:
    return "" if at is None else at.isoformat(timespec="milliseconds")
