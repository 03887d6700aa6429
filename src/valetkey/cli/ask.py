"""Secrets and files from outside: hidden prompts, standard input, files; never arguments, which every user can list.

What may not be here: showing any of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from valetkey.errors import InvalidInput
from valetkey.values import Secret, shown_path

INPUT_LIMIT: Final = 1 << 16
"""Most bytes read of a secret, a key or a token: an RSA key of 16,384 bits in PEM has 13 KB."""


def secret_line(what: str) -> Secret:
    """Read a secret of one line from standard input; raises InvalidInput."""
    text = _text(sys.stdin.buffer.read(INPUT_LIMIT + 1), what, "standard input").strip("\r\n")
    if not text.strip():
        raise InvalidInput(f"standard input holds no {what}", fix=f'for example: printf %s "$SECRET" | {_called()}')
    if "\n" in text or "\r" in text:
        raise InvalidInput(f"the {what} has more than one line", fix=f"send the {what} alone")
    return Secret(text)


def secret_prompt(what: str, *, instead: str, exact: bool = False) -> Secret:
    """Ask for a secret without showing what is typed; raises InvalidInput where nobody can be asked.

    Blanks at its ends come of pasting and go, unless it is taken `exact`, as a passphrase is from a descriptor too.
    """
    if not sys.stdin.isatty():
        raise InvalidInput(f"the {what} is needed, and this is no terminal to ask for it", fix=instead)
    import getpass

    try:
        text = getpass.getpass(f"{what} (not shown): ", stream=sys.stderr)
    except EOFError:
        text = ""
    if not text.strip():
        raise InvalidInput(f"no {what} was given", fix=instead)
    return Secret(text.rstrip("\r\n") if exact else text.strip())


def pasted(what: str, *, instead: str) -> str:
    """Read a line that a person pastes, unseen on a terminal because it holds a code; raises InvalidInput."""
    if sys.stdin.isatty():
        return secret_prompt(what, instead="paste it, then press Enter").reveal()
    text = _text(sys.stdin.buffer.readline(INPUT_LIMIT + 1), what, "standard input").strip()
    if not text:
        raise InvalidInput(
            f"standard input ended before the {what} came", cause="nobody pasted it, or sent it there", fix=instead
        )
    return text


def file_text(path: str, what: str) -> str:
    """Read a small text file, or standard input for "-"; raises InvalidInput."""
    return _text(file_bytes(path, what), what, _place(path))


def file_bytes(path: str, what: str) -> bytes:
    """Read a small file, or standard input for "-"; raises InvalidInput."""
    if path == "-":
        data = sys.stdin.buffer.read(INPUT_LIMIT + 1)
    else:
        try:
            with _expanded(path).open("rb") as file:
                data = file.read(INPUT_LIMIT + 1)
        except OSError as refusal:
            reason = refusal.strerror or type(refusal).__name__
            shown, fix = shown_path(path), "check the path and its permissions"
            if shown != path:
                fix = f"this takes the name of a file; give the {what} on standard input (-)"
            raise InvalidInput(f"{shown} cannot be read: {reason}", fix=fix) from None
    if len(data) > INPUT_LIMIT:
        raise InvalidInput(f"{_place(path)} is too large for a {what}", fix=f"at most {INPUT_LIMIT} bytes are read")
    return data


def _expanded(path: str) -> Path:
    from valetkey.vault.private import expanded

    return expanded(path)


def _place(path: str) -> str:
    return "standard input" if path == "-" else path


def _text(data: bytes, what: str, where: str) -> str:
    if len(data) > INPUT_LIMIT:
        raise InvalidInput(f"{where} is too large for a {what}", fix=f"at most {INPUT_LIMIT} bytes are read")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"{where} is not UTF-8 text", fix=f"give the {what} as text") from None


def _called() -> str:
    return "valetkey … --secret-stdin"
