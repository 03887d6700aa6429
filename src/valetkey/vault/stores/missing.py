"""The error for a place where no vault is: which place, who named it, what was perhaps meant, how one is made.

What may not be here: opening a store.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Final

from valetkey.errors import VaultMissing
from valetkey.values import shown_path
from valetkey.vault.quick import data_folder

SPOKEN: Final = frozenset(
    {"host", "port", "dbname", "user", "sslmode", "sslrootcert", "target_session_attrs", "connect_timeout"}
)
"""Settings of libpq that are no secret and say which database is meant."""

SEEN_MOST: Final = 1000
"""Files of a folder among which a near name is looked for: a downloads folder is not read to its end."""


def no_vault(where: str | Path, url: str = "") -> VaultMissing:
    """Return the error for a place without a vault. A database is named as it may be shown; `url` is what was given."""
    cause, meant, here = "", "", "valetkey"
    if isinstance(where, Path):
        where = where.absolute()
        usual = Path(data_folder(), "valetkey", "vault.db")
        named = os.environ.get("VALETKEY_VAULT")
        if where == usual:
            cause = "none was made yet, and no other was named"
        elif named and Path(os.path.expanduser(named)).absolute() == where:  # noqa: PTH111  # it raises nothing
            cause = "VALETKEY_VAULT names this file"
        if not cause and shown_path(str(where)) == str(where):
            here = f"valetkey --vault {shlex.quote(str(where))}"
        meant = _near(where) or (str(usual) if where != usual and usual.exists() else "")
    elif url and url == os.environ.get("VALETKEY_VAULT"):
        cause = "VALETKEY_VAULT names this place"
    elif shown_path(where) == where:
        here = f"valetkey --vault {shlex.quote(_spoken(url) or where)}"
    return VaultMissing(
        f"there is no vault at {shown_path(str(where))}",
        cause=cause,
        fix=(f"did you mean {meant}? " if meant else "")
        + f"--vault or VALETKEY_VAULT names another; `{here} vault init` or `{here} app add …` makes one here",
    )


def _spoken(url: str) -> str:
    """Return a database's URL as it may stand in a command: with its user, and without whatever may be a secret."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    user, at, host = place.rpartition("@")
    plain = f"{user}@" if at and re.fullmatch(r"[A-Za-z0-9_.-]{1,63}", user) else ""
    kept = "&".join(one for one in query.split("&") if one.partition("=")[0] in SPOKEN)
    spoken = f"{scheme}://{plain}{host}{f'?{kept}' if kept else ''}"
    return spoken if host and shown_path(spoken) == spoken else ""


def _near(path: Path) -> str:
    """Return a file of the same folder whose name is like this one's and ends like it, or nothing."""
    from difflib import get_close_matches  # late: only who mistypes needs it
    from itertools import islice

    try:
        with os.scandir(path.parent) as files:
            beside = [file.name for file in islice(files, SEEN_MOST) if file.is_file()]
    except OSError:
        return ""
    alike = [name for name in beside if Path(name).suffix == path.suffix]
    return next((str(path.parent / name) for name in get_close_matches(path.name, alike, n=1)), "")
