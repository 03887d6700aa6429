"""Run the command line: click reads it, our own words say what went wrong.

click's `main` is not used, because it has its own words and exit codes. What may not be here: commands.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Final

import click

from valetkey.cli.base import Session
from valetkey.cli.exits import failed, interrupted, wants_json
from valetkey.cli.root import root
from valetkey.cli.show import Unwritten

PROGRAMS: Final = {"_VALETKEY_COMPLETE": "valetkey", "_VK_COMPLETE": "vk"}
"""Variables by which a shell asks for completions, and under which name we were called."""


def run(argv: list[str]) -> int:
    """Do what `argv` says and return the exit code.

    Raises KeyboardInterrupt, and OSError where the output cannot be written; main() ends both.
    """
    for variable, program in PROGRAMS.items():
        if os.environ.get(variable):
            return _complete(program, variable)
    _write_what_can_be_written()
    session = Session()
    try:
        with root.make_context("valetkey", list(argv), obj=session) as context:
            root.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        sys.stderr.write(f"{help_wanted.format_message()}\n")
        return help_wanted.exit_code
    except click.Abort:
        return interrupted(as_json=session.json or wants_json(argv))
    except (BrokenPipeError, Unwritten):
        raise
    except Exception as error:  # noqa: BLE001  # the last place where an error can be put into words
        return failed(error, as_json=session.json or wants_json(argv))
    return 0


def _complete(program: str, variable: str) -> int:
    """Answer a shell; it shows what is said at a Tab among a person's words, so whatever is wrong says nothing."""
    from click.shell_completion import shell_complete

    with contextlib.suppress(Exception):
        return shell_complete(root, {"obj": Session()}, program, variable, os.environ[variable])
    return 1


def _write_what_can_be_written() -> None:
    """Replace characters that the terminal's encoding lacks, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="replace")
