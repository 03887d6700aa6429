"""What to type to install something that is missing: into the Python that runs, from where valetkey came from.

What may not be here: installing anything, and imports of other rooms.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path


def to_add(extra: str) -> str:
    """Return the command that adds one of valetkey's extras.

    A checkout is installed again with it, as pip remembers where from (PEP 610): an index may not have valetkey, or
    another version of it.
    """
    folder, editable = _came_from()
    wanted = f"{folder or 'valetkey'}[{extra}]"
    return f"{_pip()} install {'-e ' if editable else ''}{_quoted(wanted)}"


def to_upgrade(package: str) -> str:
    """Return the command that installs a package, or a newer one."""
    return f"{_pip()} install --upgrade {package}"


def _came_from() -> tuple[str, bool]:
    """Return the folder that valetkey was installed from, and whether it is used in place; nothing for an index."""
    from importlib.metadata import PackageNotFoundError, distribution  # late: only who lacks something needs it
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        told = json.loads(distribution("valetkey").read_text("direct_url.json") or "{}")
        parts, info = urlsplit(told.get("url", "")), told.get("dir_info")
    except (PackageNotFoundError, OSError, ValueError, AttributeError):
        return "", False
    folder = url2pathname(parts.path)
    if parts.scheme != "file" or not isinstance(info, dict) or not Path(folder).is_dir():
        return "", False
    return folder, bool(info.get("editable"))


def _pip() -> str:
    """Return how the pip of this very Python is called: plainly only where that is the one found first."""
    found = shutil.which("pip")
    if found and Path(found).parent == Path(sys.executable).parent:
        return "pip"
    return f"{_quoted(sys.executable)} -m pip"


def _quoted(word: str) -> str:
    return f'"{word}"' if os.name == "nt" else shlex.quote(word)
