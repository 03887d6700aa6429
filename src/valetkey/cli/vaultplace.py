"""Which vault a command is about, what opens it, and how far a long work on it is. What may not be here: commands."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from valetkey.cli.base import Session
    from valetkey.vault.keks.giving import Given
    from valetkey.vault.places import Place

TICK: Final = 0.2
"""Seconds between two words of progress; a terminal needs no more, and a log gets none."""


def place_of(session: Session) -> Place:
    """Return where the vault is; raises InvalidInput."""
    from valetkey.vault.places import Place

    return Place.of(session.vault)


def given_of(session: Session) -> Given:
    """Return what was given to open it with."""
    from valetkey.vault.keks.giving import Given

    return Given(key_file_of(session), session.passphrase)


def key_file_of(session: Session) -> Path | None:
    """Return the key file that was named."""
    from valetkey.vault.private import expanded

    return None if session.key_file is None else expanded(session.key_file)


class Progress:
    """Say on a terminal how far it is, on one line that is wiped in the end; be silent elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, doing: str, done: int, of: int) -> None:
        """Say it, unless it was said a moment ago."""
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + TICK
            sys.stderr.write(f"\r\x1b[Kvaletkey: {doing} {done:,} of {of:,}")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._next:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
