"""The names in a vault file, read without its key: they stand in the clear, and a shell asks for them at each Tab.

It reads only, opens no box, leaves no line in the audit log, and has no errors: what cannot be read has no names.
What may not be here: imports that cost, and databases, which would let a person wait.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Final

from valetkey.vault.quick import read_only

MOST: Final = 200
"""Names a person may choose from; who has more types a letter more."""

WAIT_SECONDS: Final = 0.2
"""How long a writer is waited for; a file in WAL mode never lets a reader wait."""

_NAMES: Final = "SELECT name FROM records WHERE name >= ? AND name < ? ORDER BY name LIMIT ?"


def names_in(vault: str, prefix: str, begun: str) -> list[str]:
    """Return names of records under `prefix` that begin with `begun`, without the prefix."""
    if "://" in vault:
        return []
    first = prefix + begun
    try:
        with closing(read_only(os.path.expanduser(vault), WAIT_SECONDS)) as store:  # noqa: PTH111  # no pathlib here
            found = store.execute(_NAMES, (first, first + chr(0x10FFFF), MOST)).fetchall()
    except (sqlite3.Error, OSError, ValueError):
        return []
    return [name.removeprefix(prefix) for (name,) in found if isinstance(name, str)]
