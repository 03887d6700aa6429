"""The program as a stranger runs it, and a browser that consents; shared by the tests of the command line.

What may not be here: expectations.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

import valetkey
from valetkey.cli import running

SECONDS = 60  # how long one call may take on a busy machine before it counts as stuck

WEB_SECRET = "web-secret-of-the-tests-0123456789abcdef"
MACHINE_SECRET = "machine-secret-of-the-tests-0123456789"

BROWSER = """#!{python}
import html, re, sys, urllib.request
sys.path[:0] = {path!r}
from valetkey.testing.browser import Browser
with urllib.request.urlopen(sys.argv[1]) as file:  # a page that leads on
    start = html.unescape(re.search('http-equiv="refresh" content="0; url=([^"]+)"', file.read().decode())[1])
with Browser() as browser:
    end = browser.visit(start, {{"login": "alice", "password": "any", "decision": {decision!r}}})
with urllib.request.urlopen(end) as answer:
    open({page!r}, "w").write(str(answer.headers) + answer.read().decode())
"""


@dataclass(frozen=True)
class Done:
    """What a call came to."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        """Return the error of a call with --json: the last line on standard error."""
        return json.loads(self.err.splitlines()[-1])


class Program:
    """`valetkey` in a process of its own."""

    def __init__(self) -> None:
        self.env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of the hundreds of starts compiles all anew

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "valetkey", *arguments]

    def __call__(self, *arguments: str, stdin: str = "", **options) -> Done:
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=self.env,
            **options,
        )
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def start(self, *arguments: str, **options) -> Iterator[subprocess.Popen]:
        """Start a call to talk with; it is ended with the block."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = self.command(*arguments)
        with subprocess.Popen(command, text=True, env=self.env, **{**pipes, **options}) as process:
            try:
                yield process
            finally:
                process.kill()


def prepare(*arguments: str, stdin: str = "") -> None:
    """Run the program in this process: what only prepares a test need not cost a process of its own."""
    told = io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    with patch.object(sys, "stdin", given), redirect_stdout(io.StringIO()), redirect_stderr(told):
        code = running.run(list(arguments))
    assert code == 0, told.getvalue()


def kept(name):
    """Return the record of an app, its secrets too."""
    seen = []
    with valetkey.open() as vault:
        vault.change_app(name, lambda app: seen.append(app) or app)
    return seen[0]
