"""Names like one that is not there, for the fix of an error: names stand in the clear, and are no secret.

What may not be here: opening records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from valetkey.errors import StoreUnavailable
from valetkey.vault.stores.base import Store

LOOKED_AT: Final = 500
"""Most names that are compared with one: a page of the store, and a few hundredths of a second."""

SHOWN: Final = 2


def near_in(store: Store) -> Callable[[str], Sequence[str]]:
    """Return what finds names like that of a record, among records of its kind; of connections, in the same app first.

    It gives nothing where the store cannot be asked: the error that is being made says more than that.
    """

    def near(record: str) -> Sequence[str]:
        kind = record[: record.index("/") + 1]
        folder = record[: record.rindex("/") + 1]
        with suppress(StoreUnavailable):
            label = record.removeprefix(folder)
            beside = [name.removeprefix(folder) for name in store.names(folder, "", LOOKED_AT)]
            if beside:  # compared without what they have in common, which makes all of them alike
                return [f"{folder.removeprefix(kind)}{name}" for name in _like(label, beside)]
            # No such app, or no connection of it: then one of the same label, in an app that is called alike.
            same = [name.removeprefix(kind) for name in store.names(kind, "", LOOKED_AT) if name.endswith(f"/{label}")]
            return _like(record.removeprefix(kind), same)
        return ()

    return near


def no_names(_record: str) -> Sequence[str]:
    """Know no names: for a desk without a store."""
    return ()


def meant(found: Sequence[str]) -> str:
    """Return the question that begins a fix, or nothing."""
    return f"did you mean {' or '.join(found)}? " if found else ""


def _like(word: str, known: Sequence[str]) -> Sequence[str]:
    from difflib import get_close_matches  # late: only who mistypes needs it

    return get_close_matches(word, known, n=SHOWN)
