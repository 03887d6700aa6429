"""Make docs/errors.md from errors.py: the tree, the exit codes, and every code with its cause and its fix."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from valetkey import errors
from valetkey.cli.exits import EXIT_CODES
from valetkey.errors import ValetkeyError
from valetkey.jose.reasons import KEY_REASONS, REASONS

SOURCE = Path(errors.__file__).parent

OUTSIDE = {
    "interrupted": (130, "Ctrl-C ended the call; what was under way was finished or never begun."),
    "output_lost": (
        1,
        "The output could not be written: standard output is closed, or the disk it leads to is full or gone.",
    ),
}
"""What only the command line says."""

INTRO = """
# Errors

Every error of valetkey has a **code** for programs, which never changes, and a **message** (what happened), a **cause**
(why, as far as the evidence goes) and a **fix** (what to do next) for people. None of them holds a secret.

- Library: `error.code`, `error.message`, `error.cause`, `error.fix`, `error.evidence`; `error.explain()` for people,
  `error.to_dict()` for programs. Catch `valetkey.errors.ValetkeyError` for all of them. The traceback of an error that
  nobody catches ends with cause and fix as well, as they are then; notes that you add stand below.
- Of a JWT that was refused, `explain()` and tracebacks say what was `expected` and what came (`got`).
- Command line: `explain()` on standard error, or the object of `to_dict()` with `--json`; the exit code is below.

The three kinds of refusal by a provider are different classes, because they want different reactions: a grant that is
gone for good (`GrantRefused`: a person must consent again), a registration that is wrong (`ClientRefused`: correct it,
nothing was spent) and weather (`Weather`: try again later).
"""


def render() -> str:
    """Return the page as Markdown."""
    return "\n".join([INTRO.strip(), "", *_tree(), *_exit_codes(), *_codes(), *_reasons()])


def _tree() -> list[str]:
    text = errors.__doc__ or ""
    drawn = text[text.index("    ValetkeyError\n") :].split("\n\n", 1)[0]
    return ["## The tree", "", "```text", textwrap.dedent(drawn), "```", ""]


def _exit_codes() -> list[str]:
    used = {1} | {kind.exit_code for kind in _classes(ValetkeyError)}
    missing = used - EXIT_CODES.keys()
    if missing:
        raise KeyError(f"cli/exits.py does not say what the exit codes {sorted(missing)} mean")
    rows = [f"| {number} | {text} |" for number, text in EXIT_CODES.items()]
    return ["## Exit codes", "", "| exit code | meaning |", "|---|---|", *rows, ""]


def _codes() -> list[str]:
    lines = ["## The codes", ""]
    further = _raised()
    for kind in _classes(ValetkeyError):
        lines += [f"### `{kind.code}`: {kind.__name__}", "", _meaning(kind), ""]
        lines += [f"- exit code: {kind.exit_code}"]
        lines += [f"- cause: {kind.cause}"] if kind.cause else []
        lines += [f"- fix: {kind.fix}"] if kind.fix else []
        special = sorted(further.get(kind.__name__, set()) - {kind.code})
        lines += ["- further codes: " + ", ".join(f"`{code}`" for code in special)] if special else []
        lines += [""]
    # The root is raised only for what nobody foresaw; its codes say where.
    for code, (exit_code, meaning) in OUTSIDE.items():
        lines += [f"### `{code}`", "", meaning, "", f"- exit code: {exit_code} (command line)", ""]
    for code in sorted(further.get("ValetkeyError", set()) - OUTSIDE.keys()):
        lines += [f"### `{code}`", "", "Nobody foresaw this: please report it.", "", "- exit code: 1", ""]
    return lines


def _meaning(kind: type[ValetkeyError]) -> str:
    """Return the docstring as a reader of the page wants it: "Say that nothing …" becomes "Nothing …"."""
    text = re.sub(r"^(Say (that )?|Be )", "", inspect.cleandoc(kind.__doc__ or ""))
    return text[:1].upper() + text[1:]


def _reasons() -> list[str]:
    tokens = [f"| `{word}` | {reason.status} | {reason.fix} |" for word, reason in REASONS.items()]
    keys = [f"| `{word}` | {fix} |" for word, fix in KEY_REASONS.items()]
    return [
        "## Why a token is refused",
        "",
        "`TokenRefused.reason`, which is also its code. The status is what a server should answer with.",
        "",
        "| reason | HTTP status | fix |",
        "|---|---|---|",
        *tokens,
        "",
        "## Why a key is refused",
        "",
        "`KeyRefused.reason`; the code is always `key_refused`.",
        "",
        "| reason | fix |",
        "|---|---|",
        *keys,
    ]


def _classes(kind: type[ValetkeyError]) -> Iterator[type[ValetkeyError]]:
    """Yield the classes of the tree in the order in which they stand in errors.py."""
    defined = (value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, kind))
    yield from (value for value in defined if value is not ValetkeyError)


MAKERS = {"refused": "ManagerRefused", "unavailable": "ManagerUnavailable"}
"""Functions that make errors, and of which class (managers/failures.py)."""

LOOKED_UP = {"ManagerUnavailable": {"manager_sealed", "manager_throttled"}}
"""Codes that stand in a table in src, and not where the error is made."""


def _raised() -> dict[str, set[str]]:
    """Return, for each class, the codes that calls in src give literally: `code="…"`."""
    found: dict[str, set[str]] = {name: set(codes) for name, codes in LOOKED_UP.items()}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (name := MAKERS.get(_name(node.func), _name(node.func))) in vars(errors):
                found.setdefault(name, set()).update(_literal_codes(node))
    return found


def _name(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def _literal_codes(call: ast.Call) -> Iterator[str]:
    for value in (keyword.value for keyword in call.keywords if keyword.arg == "code"):
        branches = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
        yield from (b.value for b in branches if isinstance(b, ast.Constant) and isinstance(b.value, str) and b.value)
