"""How a call ends: the exit codes, and errors as lines for people or as an object for programs.

What may not be here: tracebacks with local variables, which hold tokens.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import Final

import click
import msgspec

from valetkey.cli.show import clean, clean_lines, fold
from valetkey.cli.wording import for_commands
from valetkey.errors import ValetkeyError
from valetkey.values import shown_path

EXIT_CODES: Final = {
    0: "done",
    1: "the output could not be written, or an error of valetkey itself (VALETKEY_DEBUG=1 shows where)",
    2: "it was asked for something that cannot be: a wrong option, name, URL, key or file",
    3: "nothing has this name",
    4: "a person is needed: connect, reconnect, or allow more",
    5: "the provider, or a secret manager, refuses our registration or our request",
    6: "temporary: try again later",
    7: "the vault, or its key, is missing, wrong or damaged",
    8: "a token was refused (--json says the reason)",
    130: "interrupted",
    141: "the reader of the output has gone",
}

UNEXPECTED: Final = 1
USAGE: Final = 2
WAIT: Final = 6
DAMAGED: Final = 7
REFUSED: Final = 8
INTERRUPTED: Final = 130

_WORD: Final = re.compile(r"  [a-z]+: +")
"""What a line of `explain` begins with; what is said behind it stays in a column of its own."""

KEYS_NOT_HERE: Final = frozenset({"jwks_unavailable", "jwks_timeout"})
"""Refusals of a token that say nothing of it: the keys to judge it by could not be fetched."""


def failed(error: Exception, *, as_json: bool) -> int:
    """Say on standard error what went wrong, and return the exit code."""
    if isinstance(error, click.ClickException):
        return _tell(_usage(error), as_json=as_json)
    if isinstance(error, ValetkeyError):
        return _tell(error, as_json=as_json)
    if os.environ.get("VALETKEY_DEBUG"):
        import traceback

        # Source lines and types, and no values: neither locals nor the error's own text, which may quote anything.
        sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
    return _tell(_unexpected(error), as_json=as_json)


def _tell(error: ValetkeyError, *, as_json: bool) -> int:
    error.fix = for_commands(error.fix)
    if as_json:
        sys.stderr.write(msgspec.json.encode(error.to_dict()).decode() + "\n")
    else:
        sys.stderr.write(f"valetkey: {_explained(error)}\n")
    return WAIT if error.code in KEYS_NOT_HERE else type(error).exit_code


def _explained(error: ValetkeyError) -> str:
    """Return the lines of `explain`, clean, each folded under its own word where a person reads them."""
    message, *rest = clean_lines(error.explain()).split("\n")
    return "\n".join([fold(message, rest="  ", stream=sys.stderr), *(_beneath(line) for line in rest)])


def _beneath(line: str) -> str:
    word = _WORD.match(line)
    cut = word.end() if word is not None else 0
    return fold(line[cut:], first=line[:cut], rest=" " * cut, stream=sys.stderr)


def interrupted(*, as_json: bool) -> int:
    """Say that Ctrl-C ended the call, and return the exit code."""
    if as_json:
        _tell(ValetkeyError("interrupted", code="interrupted"), as_json=True)
    else:
        sys.stderr.write("valetkey: interrupted\n")
    return INTERRUPTED


def output_lost(refusal: OSError, *, as_json: bool) -> int:
    """Say that the result could not be written (a full disk), and return the exit code."""
    reason = refusal.strerror or type(refusal).__name__
    causes = {errno.EBADF: "standard output is closed", errno.ENOSPC: "the disk that standard output leads to is full"}
    told = ValetkeyError(
        f"the output cannot be written: {reason}",
        code="output_lost",
        cause=causes.get(refusal.errno or 0, ""),
        fix="lead standard output elsewhere and call again; what was done before it was to be shown stays done",
    )
    return _tell(told, as_json=as_json)


def wants_json(argv: list[str]) -> bool:
    """Say whether --json was asked for, also when the rest could not be read."""
    return "--json" in argv[: argv.index("--")] if "--" in argv else "--json" in argv


class _Usage(ValetkeyError):
    """Be a command line that click could not read."""

    code = "usage"
    exit_code = USAGE


def _usage(error: click.ClickException) -> ValetkeyError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "valetkey"
    message = clean(" ".join(_quoting_no_secret(_in_a_line(error.format_message())).split())).rstrip(".")
    cause = getattr(error, "cause", "")
    return _Usage(
        message[:1].lower() + message[1:],
        cause=cause,
        fix=getattr(error, "fix", f"`{path} --help` shows what it takes"),
    )


def _in_a_line(message: str) -> str:
    """Return click's words with the choices that it lists in lines of their own behind each other."""
    return message.replace("\n\t", " ")


_CHOICES: Final = re.compile(r"\{[a-z0-9-]+(?:\|[a-z0-9-]+)+\}")
"""How click names an argument that is one of several words; to those who look for secrets it begins as JSON does."""


def _quoting_no_secret(message: str) -> str:
    """Return click's words, without what they quote where that looks like a token or a key."""
    for quote in (" (", " '", ": "):
        said, found, quoted = message.partition(quote)
        given = _CHOICES.sub("", quoted).rstrip(".").rstrip("')")
        if found and any(shown_path(word) != word for word in (given, *given.split(" "))):
            return said
    return message


def _unexpected(error: Exception) -> ValetkeyError:
    # Only the type, and the system's own words for a system error: texts of libraries may quote what they were given.
    reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return ValetkeyError(
        f"unexpected {type(error).__name__}{reason}",
        code="unexpected",
        fix="VALETKEY_DEBUG=1 shows where it happened, without values; please report it",
    )
