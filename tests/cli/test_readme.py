"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from valetkey.cli.root import root

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.network
@pytest.mark.slow
def test_the_first_example_works_as_typed_while_make_run_runs(valetkey, tmp_path):
    example = blocks("python")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    # `make run` is `valetkey serve --try`; other ports, so that a run of your own is not in the way.
    with valetkey.start("serve", "--try", "--port", "0", "--sandbox-port", "0", cwd=tmp_path) as made:
        assert any("The sandbox is" in line for line in made.stdout)
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            env=valetkey.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    seen, state = done.stdout.splitlines()
    assert "'client': 'sandbox-machine'" in seen
    assert state == "active"


def test_make_run_is_what_the_example_is_tested_with():
    assert "\t@$(BIN)/valetkey serve --try\n" in (ROOT / "Makefile").read_text()


def typed() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    lines += [text for text in re.findall(r"`((?:valetkey|make) [^`]+)`", README) if " …" not in text]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("words", typed(), ids=" ".join)
def test_every_command_that_is_named_exists_and_takes_what_is_written(words):
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    if words[0] == "pip":
        assert words[2].removeprefix("valetkey[").rstrip("]") in (ROOT / "pyproject.toml").read_text()
        return
    assert words[0] == "valetkey"
    command: click.Command = root
    context = click.Context(root, info_name="valetkey")
    while isinstance(command, click.Group):
        assert len(words) > 1, words
        words = words[1:]
        command = command.get_command(context, words[0])
        assert command is not None, words
    command.make_context(words[0], words[1:], parent=context, resilient_parsing=False)


def test_every_method_that_the_examples_name_exists():
    from valetkey.library import Vault

    named = {name for block in blocks("python") for name in re.findall(r"\bvault\.(\w+)\(", block)}
    assert len(named) >= 5
    assert [name for name in sorted(named) if not hasattr(Vault, name)] == []


def test_every_page_of_the_documentation_is_linked_from_its_index():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page != "README.md" and f"]({page})" not in index] == []
