"""The short way to a fresh token: `valetkey token` in a twentieth of a second; importing the vault takes twice that.

Reads, and appends to the spool what it gives (spool.py). Whatever is not plain (a token to be renewed, a wrong key, no
such connection, a spool that cannot be written) gives None, and the long way says what there is to say. What may not be
here: imports that cost: pathlib, dataclasses, msgspec, click.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time

from valetkey.errors import ValetkeyError
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring
from valetkey.vault.layout import fresh_token
from valetkey.vault.spool import hand_out

_LOAD = "SELECT name, box FROM records WHERE name = ? OR name = 'keyring' AND state = 'keyring'"
"""A keyring in another state is of a vault that must not be used: the long way says why (places.py)."""


def quick_token(connection: str, vault: str, key_file: str) -> str | None:
    """Return the access token of a connection if it is fresh, else None."""
    record = f"connection/{connection}"
    if "://" in vault:
        return None  # a database: reaching it takes longer than what this way saves
    try:
        store = read_only(vault)
        try:
            boxes = dict(store.execute(_LOAD, (record,)).fetchall())
        finally:
            store.close()
        if record not in boxes or "keyring" not in boxes:
            return None
        keyring = Keyring.tried(boxes["keyring"], KeyFile.read(key_file))
        if keyring is None:
            return None
        sealer, moment = keyring.sealer(), time.time()
        token = fresh_token(sealer.open(record, boxes[record]), moment)
        return token if token and hand_out(vault, sealer, connection, token, moment) else None
    except (sqlite3.Error, OSError, ValetkeyError, ValueError):
        return None


def read_only(vault: str, wait_seconds: float = 5.0) -> sqlite3.Connection:
    """Open a vault file to read it; raises sqlite3.Error. Nothing is made where there is none."""
    path = os.path.abspath(vault).replace("%", "%25").replace("?", "%3f").replace("#", "%23")  # noqa: PTH100  # as above
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=wait_seconds)


def places() -> tuple[str, str]:
    """Return the paths of vault and key when nobody names them; opening.py gives the same as Path."""
    environ = os.environ
    vault = environ.get("VALETKEY_VAULT") or os.path.join(data_folder(), "valetkey", "vault.db")  # noqa: PTH118  # no pathlib
    vault = os.path.expanduser(vault)  # noqa: PTH111  # no pathlib here, see above
    return vault, key_beside(vault)


def key_beside(vault: str) -> str:
    """Return the path of a vault's key: VALETKEY_KEY_FILE, else beside it."""
    named = os.environ.get("VALETKEY_KEY_FILE")
    if named:
        return os.path.expanduser(named)  # noqa: PTH111  # no pathlib here, see above
    return os.path.splitext(vault)[0] + ".key"  # noqa: PTH122  # no pathlib here, see above


def data_folder() -> str:
    """Return where programs keep the user's data on this system."""
    home = os.path.expanduser("~")  # noqa: PTH111  # no pathlib here, see above
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or f"{home}/AppData/Local"
    if sys.platform == "darwin":
        return f"{home}/Library/Application Support"
    return os.environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
