"""Whether a body can be sent a second time, and how it is wound back.

What may not be here: HTTP clients. Each injector hands in what its client calls a body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

Rewind: TypeAlias = Callable[[], bool]
"""Wind a body back to where it was; false if that turned out to be impossible."""


def nothing_to_rewind() -> bool:
    """Say that a body is the same however often it is read."""
    return True


def bookmark(files: Iterable[object]) -> Rewind | None:
    """Note where open files stand, before they are read; None if one of them cannot be wound back."""
    places: list[tuple[Callable[[int], object], int]] = []
    for file in files:
        tell, seek = getattr(file, "tell", None), getattr(file, "seek", None)
        if tell is None or seek is None:
            return None
        try:
            places.append((seek, tell()))
            seek(places[-1][1])  # a pipe tells where it stands on some systems, and only then says it cannot go there
        except (OSError, ValueError):  # io.UnsupportedOperation is both; a closed file is the second
            return None
    return lambda: _wound_back(places)


def _wound_back(places: list[tuple[Callable[[int], object], int]]) -> bool:
    try:
        for seek, position in places:
            seek(position)
    except (OSError, ValueError):
        return False
    return True
