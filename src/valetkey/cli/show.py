"""What people see: one line that cannot move the cursor, aligned tables, times in words; and JSON for programs.

Results go to standard output, everything else to standard error. What may not be here: secrets.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Final, TextIO

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

NARROW: Final = 12
"""Columns below which no column of a table is folded: a date and a word still fit."""

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def clean(value: object) -> str:
    """Return a value as one line without control characters, so that no name or text can drive a terminal."""
    return "".join(c if c.isprintable() else REPLACEMENT for c in str(value))


def clean_lines(text: str) -> str:
    """Return lines, each of them clean."""
    return "\n".join(clean(line) for line in text.split("\n"))


class Unwritten(OSError):
    """Say that standard output does not take what is written."""


def out(text: str = "") -> None:
    """Write a result for people to standard output; raises Unwritten, BrokenPipeError."""
    _echo(text, color=_colour(sys.stdout))


def _echo(text: str | bytes, *, nl: bool = True, color: bool | None = None) -> None:
    try:
        click.echo(text, nl=nl, color=color)
    except BrokenPipeError:
        raise
    except OSError as refusal:
        raise Unwritten(refusal.errno, refusal.strerror) from None


def say(text: str) -> None:
    """Write a remark to standard error, in the voice of the program."""
    click.echo(f"valetkey: {text}", err=True, color=False)


def out_json(value: object) -> None:
    """Write a result for programs: one JSON value, indented, in UTF-8 whatever the terminal speaks."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    _echo(text + b"\n", nl=False)


def out_bytes(data: bytes) -> None:
    """Write a result as it is: in UTF-8, whatever the terminal speaks; raises Unwritten, BrokenPipeError."""
    _echo(data, nl=False)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows in aligned columns under their heads."""
    lines = [[clean(cell) for cell in row] for row in rows]
    widths = _fitting([max(len(cell) for cell in column) for column in zip(head, *lines, strict=True)])
    out(click.style(_aligned(head, widths), bold=True))
    for line in lines:
        shown = "\n".join(_aligned(cells, widths) for cells in _folded_cells(line, widths))
        for cell in line:
            if cell in STATE_COLOURS:
                shown = shown.replace(f"  {cell}", "  " + click.style(cell, fg=STATE_COLOURS[cell]), 1)
        out(shown)


def _fitting(widths: list[int]) -> list[int]:
    """Return widths that a terminal has room for: the widest columns give, none below NARROW."""
    width = columns(sys.stdout)
    widths = list(widths)
    while width and sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROW:
        widths[widths.index(max(widths))] -= 1
    return widths


def _folded_cells(cells: Sequence[str], widths: Sequence[int]) -> Iterable[Sequence[str]]:
    folded = [_folded(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    return zip_longest(*folded, fillvalue="")


def _folded(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    if len(first) + len(text) <= width:
        return [first + text]
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def columns(stream: object) -> int:
    """Return how wide a terminal is (80 where it does not say), 0 if the stream is none: then nothing is folded."""
    if not getattr(stream, "isatty", lambda: False)():
        return 0
    return shutil.get_terminal_size((80, 24)).columns


def fold(text: str, *, first: str = "", rest: str = "", stream: TextIO | None = None) -> str:
    """Return a line as a terminal has room for it, indented by `first` and then `rest`; else as it is."""
    width = columns(stream or sys.stdout)
    return "\n".join(_folded(text, width, first, rest)) if width > len(rest) + NARROW else first + text


def facts(pairs: Mapping[str, object]) -> None:
    """Write names and values in two columns; what is empty is left out."""
    said = {name: clean(value) for name, value in pairs.items() if value not in (None, "", ())}
    width = max((len(name) for name in said), default=0)
    for name, value in said.items():
        out(fold(value, first=f"{name:<{width}}  ", rest=" " * (width + 2)))


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
