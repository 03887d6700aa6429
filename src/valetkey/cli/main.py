"""The entry point. A fresh token and the version are answered at once; everything else loads the command line.

`valetkey token NAME` stands inside `$(…)` of scripts that run every minute, so nothing is imported here that such a
call does not need: no click, no pathlib, no dataclasses. What may not be here: commands.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TextIO

PLACES = ("--vault", "--key-file")

READER_GONE = 141
"""What a shell shows for a program ended by SIGPIPE: 128 + 13."""


def main() -> int:
    """Do what the command line says and return the exit code."""
    argv = sys.argv[1:]
    _stand_in()
    _let_remarks_be_lost()
    try:
        code = _done(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go(sys.stderr)
        try:
            sys.stdout.flush()  # it may be the other stream whose reader has gone
        except OSError:
            _let_go(sys.stdout)
        return READER_GONE
    except OSError as refusal:
        from valetkey.cli.exits import output_lost, wants_json  # late, as above

        _let_go(sys.stdout)
        return output_lost(refusal, as_json=wants_json(argv))
    except KeyboardInterrupt:
        from valetkey.cli.exits import interrupted, wants_json  # late, as above

        return interrupted(as_json=wants_json(argv))
    return code


def _done(argv: list[str]) -> int:
    answer = _at_once(argv)
    if answer:
        sys.stdout.write(f"{answer}\n")
        return 0
    from valetkey.cli.running import run  # late: only now is the command line needed

    return run(argv)


def _stand_in() -> None:
    """Put streams where the caller closed them: then there is nothing to read, and what is written cannot be.

    Python has None there. The descriptors are taken up lowest first, else the next file opened would be "standard".
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # A descriptor open for reading refuses what is written to it: EBADF, as a closed one does.
            flags = os.O_WRONLY if name == "stderr" else os.O_RDONLY
            held = os.open(os.devnull, flags)
            if held != number:
                os.dup2(held, number)
                os.close(held)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


class _Remarks(io.FileIO):
    """Be a standard error that loses what its disk does not take."""

    def write(self, data: Any, /) -> int:
        """Write, or lose it where there is no room; raises BrokenPipeError."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError:
            return len(data)


def _let_remarks_be_lost() -> None:
    """Keep result and exit code what they are where standard error is full: they say more than a second failure."""
    stream = sys.stderr
    # Only what Python opened itself, and no console of Windows, which is no file.
    if not isinstance(stream, io.TextIOWrapper) or stream is not sys.__stderr__:
        return
    if type(getattr(stream.buffer, "raw", stream.buffer)) is io.FileIO:  # which is bare with PYTHONUNBUFFERED
        raw = _Remarks(stream.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True
        )


def _let_go(stream: TextIO) -> None:
    """See to it that the interpreter, when it ends, flushes nothing to where nothing can be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _at_once(argv: list[str]) -> str:
    """Return the answer that needs no command line, or the empty string."""
    if argv == ["--version"]:
        from valetkey._version import __version__

        return f"valetkey {__version__}"
    asked = _token_asked(argv)
    if asked is None or os.environ.get("VALETKEY_AUDIT_LOG") == "-":
        return ""  # the long way says why standard output cannot be for both
    from valetkey.vault.quick import key_beside, places, quick_token

    name, given = asked
    vault, key_file = places()
    if "--vault" in given:
        vault = os.path.expanduser(given["--vault"])  # noqa: PTH111  # pathlib costs a tenth of the whole call
        key_file = key_beside(vault)
    if "--key-file" in given:
        key_file = os.path.expanduser(given["--key-file"])  # noqa: PTH111  # as above
    return quick_token(name, vault, key_file) or ""


def _token_asked(argv: list[str]) -> tuple[str, dict[str, str]] | None:
    """Return name and places if `argv` is `token NAME` with nothing but places around it."""
    words: list[str] = []
    given: dict[str, str] = {}
    left = iter(argv)
    for word in left:
        option, equals, value = word.partition("=")
        if option in PLACES:
            given[option] = value if equals else next(left, "")
        else:
            words.append(word)
    if len(words) != 2 or words[0] != "token" or words[1].startswith("-") or not all(given.values()):
        return None
    return words[1], given
