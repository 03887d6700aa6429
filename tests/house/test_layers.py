"""Imports go down the rooms, and pure rooms touch neither the world nor the clock (docs/architecture.md)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

PURE = ("valetkey.oauth", "valetkey.jose", "valetkey.effects", "valetkey.values", "valetkey.errors")
FACES = ("valetkey.cli", "valetkey.web", "valetkey.testing")
CLOCKS = {"now", "utcnow", "today", "monotonic", "perf_counter"}


def test_the_contracts_of_pyproject_hold(root):
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=root,
        env={**os.environ, "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def clocks(source) -> list[str]:
    calls = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
    return [
        f"{source.at(call.lineno)}: .{call.func.attr}() asks the clock; take the time as an argument"
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in CLOCKS
    ]


def test_pure_rooms_are_told_the_time(sources, no_offence):
    no_offence([line for source in sources if source.module.startswith(PURE) for line in clocks(source)])


@pytest.mark.parametrize("text", ["datetime.now(UTC)", "from time import *\nx = time.monotonic()"])
def test_a_clock_is_noticed(snippet, text):
    assert len(clocks(snippet(text))) == 1


def front_door(source) -> list[str]:
    """Find imports of the front door; it may load every room, so whoever is below it must not pass through it."""
    return [
        f"{source.at(node.lineno)}: import from the room itself, not from the front door"
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Import) and any(alias.name == "valetkey" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "valetkey" and not node.level)
    ]


def test_only_the_faces_go_through_the_front_door(sources, no_offence):
    inner = [source for source in sources if not source.module.startswith(FACES) and source.module != "valetkey"]
    no_offence([line for source in inner for line in front_door(source)])


@pytest.mark.parametrize("text", ["import valetkey", "from valetkey import errors"])
def test_the_front_door_is_noticed(snippet, text):
    assert len(front_door(snippet(text))) == 1
