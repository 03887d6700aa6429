"""Files and folders that are nobody else's: made so, and refused where they are not.

The umask is not trusted, links are not followed where something is made, and what others can write is not used.
"""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from pathlib import Path
from typing import BinaryIO

from valetkey.errors import InvalidInput, VaultUnreadable
from valetkey.values import shown_path

NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder in the place of its ~; raises InvalidInput where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        whose = shown_path(Path(path).parts[0])
        raise InvalidInput(f"no home folder is known for {whose}", fix="write the whole path") from None


def private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, each with mode 0700; raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(mode=0o700, exist_ok=True)


def new_file(path: Path) -> BinaryIO:
    """Make a file that is not there yet, with mode 0600, and open it for writing; raises OSError."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600), "wb")


def write_anew(path: Path, text: str) -> None:
    """Put a file with mode 0600 in the place of what is there, whole or not at all; raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with new_file(draft) as file:
            file.write(text.encode())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def refuse_shared(path: Path) -> None:
    """Raise VaultUnreadable for a file that others could change, or that another user made for us."""
    if os.name != "posix":
        return
    try:
        found = path.stat()
    except OSError:
        return  # whoever opens it says what is wrong
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise VaultUnreadable(
            f"{shown_path(str(path))} can be changed by others (mode {stat.S_IMODE(found.st_mode):04o})",
            cause="whoever can write to this file can swap records or take them back to an older state",
            fix=f"chmod 600 {shlex.quote(shown_path(str(path)))}",
        )
    # Root uses files of others on purpose: in containers, the folder that is mounted is somebody's.
    if os.geteuid() and found.st_uid not in {0, os.geteuid()}:
        raise VaultUnreadable(
            f"{shown_path(str(path))} belongs to another user",
            cause="its owner could change it, or made it to be used by mistake",
            fix="use a vault of your own, or change its owner",
        )


def seen_by_others(*paths: Path) -> list[str]:
    """Return what others on this machine could read of these files, or of those in these folders; changes nothing."""
    if os.name != "posix":
        return []
    told = []
    for path in paths:
        inner = sorted(path.iterdir()) if path.is_dir() else []
        for found in (path, *inner):
            mode = stat.S_IMODE(found.lstat().st_mode) if found.exists() else 0
            if mode & 0o077:
                told.append(f"{found} has mode {mode:04o}: chmod {'700' if found.is_dir() else '600'} {found}")
    return told
