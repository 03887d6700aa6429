"""The error for a place where no vault is: which place, who named it, what was perhaps meant, how one is made.

What may not be here: opening a store.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

from valetkey.errors import VaultMissing
from valetkey.values import shown_path
from valetkey.vault.quick import data_folder

SEEN_MOST: Final = 1000
"""Files of a folder among which a near name is looked for: a downloads folder is not read to its end."""


def no_vault(where: str | Path) -> VaultMissing:
    """Return the error for a place without a vault; a database is named as it may be shown."""
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
    return VaultMissing(
        f"there is no vault at {shown_path(str(where))}",
        cause=cause,
        fix=(f"did you mean {meant}? " if meant else "")
        + f"--vault or VALETKEY_VAULT names another; `{here} vault init` or `{here} app add …` makes one here",
    )


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
