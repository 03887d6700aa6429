"""Every file says what it is for, every silenced check says why, and every file is reached by a test."""

from __future__ import annotations

import ast
import re

import pytest

DIRECTIVE = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:|nosec|ruff:|mypy:|pylint:)[^#]*", re.IGNORECASE)
CODED = re.compile(
    r"# (noqa: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*|type: ignore\[[a-z-]+(, [a-z-]+)*\]|pragma: no (cover|branch))\s*"
)


def without_docstring(source) -> list[str]:
    said = ast.get_docstring(source.tree) or ""
    return [] if len(said.split()) >= 4 else [f"{source.at(1)}: opens without saying what it is for"]


def test_every_file_opens_with_what_it_is_for(all_sources, no_offence):
    no_offence([line for source in all_sources for line in without_docstring(source)])


@pytest.mark.parametrize("text", ["", "import os\n", '"""Helpers."""\n', "# a comment is no docstring, however long\n"])
def test_a_file_that_does_not_say_what_it_is_for_is_noticed(snippet, text):
    assert len(without_docstring(snippet(text))) == 1


def silenced(source) -> list[str]:
    """Find a silenced check without its code, or without a reason of at least two words behind it."""
    found = []
    if not DIRECTIVE.search(source.text):
        return found  # to part a file into tokens takes long, and most files silence nothing
    for line, comment in source.comments.items():
        directives = [match.group() for match in DIRECTIVE.finditer(comment)]
        if not directives:
            continue
        coded = [match for text in directives if (match := CODED.match(text))]
        reason = comment
        for match in coded:
            reason = reason.replace(match.group(), "", 1)
        if len(coded) < len(directives) or len(reason.strip("# ").split()) < 2:
            found.append(f"{source.at(line)}: {comment}")
    return found


def test_every_silenced_check_has_its_code_and_a_reason(all_sources, no_offence):
    no_offence([line for source in all_sources for line in silenced(source)])


@pytest.mark.parametrize(
    ("comment", "offences"),
    [
        ("# noqa", 1),
        ("# noqa: E501", 1),
        ("# noqa: E501  # why", 1),
        ("# type: ignore  # the stub is wrong", 1),
        ("# type: ignore[arg-type]", 1),
        ("# pragma: no cover", 1),
        ("# type: ignore[arg-type]  # noqa: E501", 1),
        ("# noqa: E501  # the URL cannot be broken", 0),
        ("# type: ignore[arg-type]  # the stub is wrong", 0),
        ("# type: ignore[arg-type]  # noqa: E501  # the stub is wrong", 0),
        ("# an ordinary remark", 0),
    ],
)
def test_a_silenced_check_without_code_or_reason_is_noticed(snippet, comment, offences):
    assert len(silenced(snippet(f"x = 1  {comment}\n"))) == offences


def named(source, modules: set[str]) -> set[str]:
    """Return the modules a file names: by import, or as "package.module" or "package.module:name" in a string."""
    names: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value.partition(":")[0])
    return names & modules


def holds_code(source) -> bool:
    """Say whether there is anything to test: a file of re-exports or of one constant has nothing."""
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in source.tree.body)


def unreached(sources, tests) -> list[str]:
    """Find files that no test names, and that no file of the same room names which a test reaches."""
    by_name = {source.module: source for source in sources}
    modules = set(by_name)
    reached: set[str] = set()
    waiting = {name for test in tests for name in named(test, modules)}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        room = name.split(".")[:2]
        waiting |= {other for other in named(by_name[name], modules) if other.split(".")[:2] == room} - reached
    return sorted(name for name in modules - reached if holds_code(by_name[name]))


def test_every_file_is_reached_by_a_test_of_its_room(sources, all_sources, root, no_offence):
    tests = [source for source in all_sources if source.path.is_relative_to(root / "tests")]
    no_offence(unreached(sources, tests))
