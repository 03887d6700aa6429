"""A measurement, how it is taken, and how it is printed."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Be one measured thing: `value` in `unit`, and how it compares (`ratio` to what `against` says)."""

    what: str
    value: float
    unit: str
    ratio: float | None = None
    against: str = ""
    aim: str = ""


def pin() -> None:
    """Stay on one core, so that figures of one run can be compared."""
    with suppress(AttributeError, OSError):  # not every system can
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def best(work: Callable[[], object], *, number: int, repeat: int = 7) -> float:
    """Return seconds per call: the best of several runs, because noise only ever adds."""
    gc.collect()
    gc.disable()
    try:
        runs = []
        for _ in range(1 + number // 20):
            work()  # collecting garbage has left none of it in the processor's caches
        for _ in range(repeat):
            start = time.perf_counter()
            for _ in range(number):
                work()
            runs.append((time.perf_counter() - start) / number)
    finally:
        gc.enable()
    return min(runs)


def table(rows: list[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| what | value | ratio | aim |", "|---|---:|---:|---|"]
    for row in rows:
        ratio = f"{row.ratio:.2f} × {row.against}" if row.ratio is not None else ""
        lines.append(f"| {row.what} | {row.value:,.3g} {row.unit} | {ratio} | {row.aim} |")
    return "\n".join(lines)
