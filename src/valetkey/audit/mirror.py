"""A copy of the audit log as JSON lines: in a file that others may rotate and share, or on standard output.

The log is in the vault's database, and only that is chained to be whole. The copy is for who reads files: it never
fails or delays what is logged, and what it misses is counted and said once. What may not be here: what a line holds.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from valetkey.audit.chain import ChainKey
from valetkey.audit.line import Line
from valetkey.errors import InvalidInput
from valetkey.values import shown_path

STANDARD_OUTPUT: Final = "-"
VARIABLE: Final = "VALETKEY_AUDIT_LOG"

AuditLog: TypeAlias = str | Path | None
"""Where the copy goes: a file, `-` for standard output; None: where VALETKEY_AUDIT_LOG says, else nowhere."""

WRITTEN_SECONDS: Final = 0.002
"""After which a file that has not grown is not being written; only a line that looks cut is waited for."""

log: Final = logging.getLogger("valetkey.audit")
_encode: Final = msgspec.json.Encoder().encode


class Mirror:
    """Append each line, whole; where `write` raises OSError or ValueError the lines are counted."""

    def __init__(self, where: str, write: Callable[[bytes], None]) -> None:
        self.where = where
        self.missing = 0
        self._write = write

    def __call__(self, lines: list[Line], _key: ChainKey) -> None:
        """Write lines that were committed; raises nothing."""
        try:
            self._write(b"".join(_encode(line.to_chained_dict()) + b"\n" for line in lines))
        except (OSError, ValueError) as refusal:  # the latter: a stream that was closed
            if not self.missing:
                said = getattr(refusal, "strerror", None) or type(refusal).__name__
                log.error(  # noqa: TRY400  # the cause is one word of the system
                    "the audit log cannot be copied to %s (%s); it is whole in the vault", self.where, said
                )
            self.missing += len(lines)
            return
        if self.missing:
            log.warning("the audit log is copied to %s again; %d lines are missing there", self.where, self.missing)
            self.missing = 0


def mirror_to(where: AuditLog) -> Mirror | None:
    """Return what copies lines there, None for nowhere; raises InvalidInput where that cannot be done."""
    text = os.environ.get(VARIABLE) if where is None else str(where)
    if not text:
        return None
    if text == STANDARD_OUTPUT:
        return Mirror("standard output", _to_standard_output)
    try:
        path = str(Path(text).expanduser())
        os.close(_opened(path))
    except (OSError, RuntimeError) as refusal:  # the latter: ~ of somebody without a home folder
        said = getattr(refusal, "strerror", None) or "no such home folder is known"
        raise InvalidInput(
            f"the audit log cannot be copied to {shown_path(text)}: {said}",
            fix=f"name a file in a folder that can be written, or -, with --audit-log or {VARIABLE}",
        ) from None
    return Mirror(path, lambda data: _to_file(path, data))


def _opened(path: str) -> int:
    # To read too: whether the last line is whole. Not to wait: a pipe that nobody reads would never open.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    file = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is not a file")
    return file


def _to_file(path: str, data: bytes) -> None:
    """Append in one write, so that the lines of several processes stay whole.

    Opened anew for each commit, which is written to a disk anyway: so a file that was renamed away is not written on.
    """
    file = _opened(path)
    try:
        if _is_cut(file):
            data = b"\n" + data  # what follows is not glued to it
        if os.write(file, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(file)


def _is_cut(file: int) -> bool:
    """Say whether the last line ended with a full disk; one that is being written just now looks so for a moment."""
    before = -1
    while os.name == "posix" and (size := os.fstat(file).st_size) and os.pread(file, 1, size - 1) != b"\n":
        if size == before:
            return True
        before = size
        time.sleep(WRITTEN_SECONDS)
    return False


def _to_standard_output(data: bytes) -> None:
    # Beside Python's buffer, which would keep what a broken pipe refused, and fail with it at the end once more.
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    left = memoryview(data)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]
