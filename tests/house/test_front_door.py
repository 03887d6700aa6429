"""The front door is one sorted `__all__`, loaded on demand; and start-up loads no more than it needs."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys

import pytest

import valetkey

# What `import valetkey` must not load: everything that is not ours or the standard library's, and of that the heavy half.
HEAVY = {"asyncio", "concurrent", "email", "http", "json", "logging", "multiprocessing", "sqlite3", "ssl", "tomllib"}
# What a command that only prints a token must not load; each costs more than the command's own work.
NOT_FOR_TOKEN = {"aiohttp", "asyncio", "httpx", "jinja2", "litestar", "requests", "rich", "starlette", "uvicorn"}

LOADED = """
import atexit, json, sys
before = set(sys.modules)
atexit.register(lambda: sys.__stderr__.write("\\n" + json.dumps(sorted(set(sys.modules) - before))))
"""


def loaded_by(program: str, *arguments: str) -> set[str]:
    """Return the top-level names of the modules that a program loads in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED + program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    names = json.loads(done.stderr.rsplit("\n", 1)[-1])
    assert any(name.startswith("valetkey") for name in names), done.stderr
    return {name.partition(".")[0] for name in names}


@pytest.fixture
def exported() -> list[str]:
    names = getattr(valetkey, "__all__", None)
    if names is None:
        pytest.skip("the front door has no __all__ yet")
    return list(names)


def test_the_list_is_sorted_and_names_nothing_twice(exported):
    assert exported == sorted(set(exported))


def test_every_name_on_the_list_is_there(exported, no_offence):
    no_offence([name for name in exported if getattr(valetkey, name, None) is None])


def test_dir_shows_the_list(exported):
    assert set(exported) <= set(dir(valetkey))


def test_the_list_is_complete(exported, root):
    """Type checkers see the names that stand under TYPE_CHECKING; users see the list. They are the same."""
    tree = ast.parse((root / "src/valetkey/__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    ours = [node for node in imports if (node.module or "").split(".")[0] == "valetkey"]
    seen = {alias.asname or alias.name for node in ours for alias in node.names}
    seen |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert {name for name in seen if not name.startswith("_")} == {
        name for name in exported if not name.startswith("_")
    }


def test_a_name_that_is_not_there_is_an_attribute_error(exported):
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = valetkey.no_such_name


def test_importing_the_package_loads_nothing_but_the_package():
    loaded = loaded_by("import valetkey")
    assert {name for name in loaded if name not in sys.stdlib_module_names} == {"valetkey"}
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--version"], ["token", "google/alice"]])
def test_a_short_command_loads_no_web_framework_and_no_async_client(arguments):
    if importlib.util.find_spec("valetkey.cli.main") is None:
        pytest.skip("valetkey.cli.main is not there yet")
    loaded = loaded_by("from valetkey.cli.main import main\nmain()", *arguments)
    assert loaded & NOT_FOR_TOKEN == set()
