"""What people see: one line that cannot move the cursor, aligned tables, times in words; and JSON for programs.

Results go to standard output, everything else to standard error. What may not be here: secrets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click
import msgspec

STATE_COLOURS: Final = {
    "active": "green",
    "pending": "yellow",
    "failing": "yellow",
    "ambiguous": "yellow",
    "needs_reconnect": "red",
    "revoked": "red",
}

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def clean(value: object) -> str:
    """Return a value as one line without control characters, so that no name or text can drive a terminal."""
    return "".join(c if c.isprintable() else REPLACEMENT for c in str(value))


def clean_lines(text: str) -> str:
    """Return lines, each of them clean."""
    return "\n".join(clean(line) for line in text.split("\n"))


def out(text: str = "") -> None:
    """Write a result for people to standard output."""
    click.echo(text, color=_colour(sys.stdout))


def say(text: str) -> None:
    """Write a remark to standard error, in the voice of the program."""
    click.echo(f"valetkey: {text}", err=True, color=False)


def out_json(value: object) -> None:
    """Write a result for programs: one JSON value, indented, in UTF-8 whatever the terminal speaks."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    click.echo(text + b"\n", nl=False)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows in aligned columns under their heads."""
    lines = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(head, *lines, strict=True)]
    out(click.style(_aligned(head, widths), bold=True))
    for line in lines:
        shown = _aligned(line, widths)
        for cell in line:
            if cell in STATE_COLOURS:
                shown = shown.replace(f"  {cell}", "  " + click.style(cell, fg=STATE_COLOURS[cell]), 1)
        out(shown)


def facts(pairs: Mapping[str, object]) -> None:
    """Write names and values in two columns; what is empty is left out."""
    said = {name: clean(value) for name, value in pairs.items() if value not in (None, "", ())}
    width = max((len(name) for name in said), default=0)
    for name, value in said.items():
        out(f"{name:<{width}}  {value}")


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _colour(stream: object) -> bool:
    """Say whether to colour: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return bool(getattr(stream, "isatty", lambda: False)()) and not os.environ.get("NO_COLOR")


def moment(at: datetime | None, never: str = "") -> str:
    """Return a time as people compare it: the date in UTC, and how far away it is."""
    if at is None:
        return never
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({distance(at)})"


def distance(at: datetime | None, never: str = "never", *, now: datetime | None = None) -> str:
    """Return how far away a time is: "in 58 min", "3 days ago"."""
    if at is None:
        return never
    ahead = at - (now or datetime.now(UTC))
    span = _span(abs(ahead))
    return f"in {span}" if ahead > timedelta(0) else f"{span} ago"


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
