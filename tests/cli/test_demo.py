"""The demo really happens, is checked while it happens, needs only the core, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from valetkey.cli import story
from valetkey.testing import Sandbox

pytestmark = [pytest.mark.network, pytest.mark.slow]

SERVER = ("aiohttp", "jinja2", "litestar", "uvicorn")

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError("not installed here", name=name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {packages!r} else real(name, package)
sys.meta_path.insert(0, Missing())
sys.argv = ["valetkey", *{arguments!r}]
from valetkey.cli.main import main
sys.exit(main())
"""


@pytest.fixture
def without(valetkey, tmp_path):
    """Run the program where packages are not installed, with a folder for temporary files that must end empty."""

    def call(packages, *arguments):
        folder = tmp_path / "temporary"
        folder.mkdir()
        code = WITHOUT.format(packages=set(packages), arguments=arguments)
        env = {**valetkey.env, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=90, check=False, cwd=tmp_path
        )
        assert list(folder.iterdir()) == []
        return done

    return call


def test_the_story_is_told_and_holds_without_the_servers_packages(without, home):
    done = without(SERVER, "demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "All of it held." in done.stdout
    assert "called through httpx" in done.stdout
    assert "20 tokens, all the same one: " in done.stdout
    assert "needs_reconnect" in done.stdout
    assert "connection.reconnected" in done.stdout
    assert 40 <= len(done.stdout.splitlines()) <= 75
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "\x1b" not in done.stdout, "colour is for terminals"
    assert "sbx_" not in done.stdout, "that is how every token, code and refresh token of the sandbox begins"
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("packages", "client"), [(("httpx",), "requests"), (("httpx", "requests"), "urllib")])
def test_another_client_will_do_and_programs_get_json(without, packages, client):
    import json

    done = without((*SERVER, *packages), "demo", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert [step["ok"] for step in told["steps"]] == [True] * 9
    assert f"called through {client}" in told["steps"][2]["title"]
    assert told["steps"][5]["facts"]["refreshes"].startswith("1,")
    assert "sbx_" not in done.stdout


def test_what_does_not_hold_is_said_and_is_the_exit_code(inside, monkeypatch):
    monkeypatch.setattr(story, "LIFETIME", 0.5)
    monkeypatch.setattr(Sandbox, "grant_alive", lambda *_: False)
    done = inside("demo")
    assert done.code == 1
    assert "this did not hold: the grant is alive" in done.out
    assert "Something did not hold" in done.out
