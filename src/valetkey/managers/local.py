"""Secrets that lie on this machine: in a file (as Docker, Kubernetes and systemd mount them), or in a variable.

What may not be here: a manager that is asked over a network.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from valetkey.managers.failures import refused, unavailable
from valetkey.managers.reference import Reference
from valetkey.values import Secret

MOST: Final = 64 * 1024
"""Bytes of a secret: an RSA key of 16,384 bits in PEM has 13 KB."""

_MISSING: Final = "manager_secret_missing"


def read(reference: Reference) -> Secret:
    """Return what a file or a variable holds, without line ends behind it; raises ManagerRefused."""
    text = _variable(reference) if reference.kind == "env" else _file(reference)
    text = text.rstrip("\r\n")
    if not text.strip():
        raise refused(f"{reference.place} is empty", code=_MISSING, cause="it holds nothing but blanks", fix="fill it")
    return Secret(text)


def _variable(reference: Reference) -> str:
    found = os.environ.get(reference.name)
    if found is None:
        fix = "set it in the environment of every process that opens this vault, or use file: or a manager instead"
        raise refused(f"there is no variable {reference.name}", code=_MISSING, cause="it is not set here", fix=fix)
    return found


def _file(reference: Reference) -> str:
    fix = "check the path behind file:, or put the file there"
    try:
        descriptor = os.open(reference.name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise refused(f"{reference.place} is no file", cause="it is a folder, pipe or device", fix=fix)
            raw = os.read(descriptor, MOST + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise refused(f"{reference.place} is not there", code=_MISSING, cause="no such file", fix=fix) from None
    except PermissionError:
        fix = "let the user that runs valetkey read it"
        raise refused(f"{reference.place} may not be read", cause="its permissions forbid it", fix=fix) from None
    except OSError as refusal:
        raise unavailable(f"{reference.place} cannot be read: {refusal.strerror}") from None
    try:
        if len(raw) <= MOST:
            return raw.decode()
    except UnicodeDecodeError:
        pass
    raise refused(f"{reference.place} is no secret", cause=f"it is no UTF-8, or longer than {MOST} bytes", fix=fix)
