"""What an error reporter would write down of an error: the local variables of every frame of ours, looked into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import valetkey

OURS = str(Path(valetkey.__file__).parent)

DEPTH = 6
"""How far containers are looked into; Sentry goes as deep as five."""


def seen_by_reporters(error: BaseException, *rooms: str) -> str:
    """Return the locals of the frames in these rooms, of an error and of all that led to it."""
    places = tuple(f"{OURS}/{room}/" for room in rooms)
    return "\n".join(line for one in _chain(error) for line in _locals(one, places))


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found


def _locals(error: BaseException, places: tuple[str, ...]) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(places):
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{code.co_qualname if hasattr(code, 'co_qualname') else code.co_name}: {name} = {_shown(value)}"
            yield f"{code.co_name} raised {error!r} {vars(error)!r} {error.args!r}"
        trace = trace.tb_next


def _shown(value: object, depth: int = 0) -> str:
    """Return a value as a reporter shows it: containers are looked into, whatever their repr says."""
    if depth < DEPTH and isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {_shown(inner, depth + 1)}" for name, inner in value.items()) + "}"
    if depth < DEPTH and isinstance(value, Sequence | AbstractSet) and not isinstance(value, str | bytes):
        return "[" + ", ".join(_shown(inner, depth + 1) for inner in value) + "]"
    return repr(value)
