"""What the house rules look at: every Python file of src, read and parsed once."""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """Be one Python file: its text, its tree, its comments by line."""

    path: Path
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def comments(self) -> dict[int, str]:
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}

    def at(self, line: int) -> str:
        """Return a place as an editor opens it: src/valetkey/values.py:12."""
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{line}"

    @property
    def module(self) -> str:
        """Return the dotted name; a package's is without `__init__`."""
        parts = self.path.relative_to(ROOT / "src").with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read(*folders: str) -> list[Source]:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Source(path, path.read_text()) for path in paths if "node_modules" not in path.parts]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the project."""
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Return every Python file of src."""
    return read("src")


@pytest.fixture(scope="session")
def all_sources(sources: list[Source]) -> list[Source]:
    """Return every Python file of the project."""
    return sources + read("tests", "docs", "bench")


@pytest.fixture(scope="session")
def no_offence():
    """Return an assertion that shows every offence, one per line, as places an editor can open."""

    def none_of(offences: list[str]) -> None:
        assert not offences, "\n" + "\n".join(offences)

    return none_of


@pytest.fixture(scope="session")
def snippet():
    """Return a maker of sources, to show that a rule finds what it is for."""
    return lambda text, name="snippet.py": Source(Path("/nowhere") / name, text)
