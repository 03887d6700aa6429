"""Become another program: with the default signals, without our open files, and with the exit codes shells know.

What may not be here: tokens in arguments.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from valetkey.errors import InvalidInput

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""POSIX: "If a command is not found, the exit status shall be 127. If the command name is found, but it is not an
executable utility, the exit status shall be 126" (Shell Command Language, section 2.8.2)."""

PIPE_LIMIT: Final = 16_384
"""Most bytes put into a pipe that nobody reads yet: what every system's pipe holds at least."""


def become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by `command`; signals and exit code are the command's own from then on."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name != "posix":
            _run(command, environment)
        # Python ignores these two, and what is ignored stays ignored in the new program.
        for name in ("SIGPIPE", "SIGXFSZ"):
            with contextlib.suppress(AttributeError):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606  # no shell: that is the purpose
    except FileNotFoundError:
        _refuse(command[0], "not found", NOT_FOUND)
    except OSError as refusal:
        _refuse(command[0], refusal.strerror or "cannot be run", NOT_EXECUTABLE)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Do what `become` does where a process cannot be replaced (Windows)."""
    import subprocess

    raise SystemExit(subprocess.run(list(command), env=dict(environment), check=False).returncode)  # noqa: S603  # as typed


def _refuse(command: str, reason: str, code: int) -> NoReturn:
    from valetkey.cli.show import clean

    sys.stderr.write(f"valetkey: {clean(command)}: {reason}\n")
    raise SystemExit(code)


def readable_once(data: bytes, *, at: int | None = None) -> int:
    """Return an inherited file descriptor from which `data` can be read once; `at` is its number.

    It is a pipe: nothing is written to a disk, and it is empty after the first reading. Raises InvalidInput.
    """
    if len(data) > PIPE_LIMIT:
        raise InvalidInput(
            f"the token is too long to be handed over ({len(data)} bytes)", fix="use the library instead"
        )
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    if at is not None and at != reading:
        try:
            os.dup2(reading, at, inheritable=True)
        except OSError as refusal:
            reason = refusal.strerror or "not possible"
            raise InvalidInput(f"file descriptor {at} cannot be used: {reason}", fix="a small number: 3") from None
        os.close(reading)
        return at
    os.set_inheritable(reading, True)  # the standard library's signature
    return reading


def inherited_path(data: bytes) -> str:
    """Return the path of `readable_once` for programs that take a file's name; raises InvalidInput."""
    if os.name != "posix":
        raise InvalidInput("this system has no paths for open files", fix="use `valetkey exec --env`, or the library")
    return f"/dev/fd/{readable_once(data)}"
