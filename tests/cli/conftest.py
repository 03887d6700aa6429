"""The program, a sandbox to connect to, and a browser that consents.

What may not be here: expectations.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from clikit import BROWSER, MACHINE_SECRET, WEB_SECRET, Done, Program, prepare
from valetkey.cli import main
from valetkey.testing import Sandbox


@pytest.fixture
def valetkey(home: Path) -> Program:
    """Return the program, in the test's own empty home."""
    return Program()


@pytest.fixture
def inside(home: Path, capsys, monkeypatch) -> Iterator[Callable[..., Done]]:
    """Return the program without a process of its own: cheap, for what reads no terminal and becomes no other program.

    `stdin` is a text, or makes one out of what was shown on standard error, when it is read.
    """
    monkeypatch.setattr(os, "execvpe", _stays)

    def call(*arguments: str, stdin: str | Callable[[str], str] = "") -> Done:
        shown = []

        def typed() -> str:
            shown.append(capsys.readouterr())
            return stdin(shown[-1].err) if callable(stdin) else stdin

        monkeypatch.setattr(sys, "argv", ["valetkey", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Typed(typed))))
        capsys.readouterr()
        code = main.main()
        shown.append(capsys.readouterr())
        done = Done(code, "".join(part.out for part in shown), "".join(part.err for part in shown))
        assert "Traceback" not in done.err
        return done

    before = [(handler, handler.filters[:]) for handler in logging.root.handlers]
    yield call
    for handler, filters in before:
        handler.filters[:] = (
            filters  # `serve` and `keep` mask what the root logger's handlers write; these are pytest's
        )


class Typed(io.RawIOBase):
    """Be a standard input whose text is made when it is read."""

    def __init__(self, text: Callable[[], str]) -> None:
        self.text = text
        self.left: io.BytesIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if self.left is None:
            self.left = io.BytesIO(self.text().encode())
        return self.left.readinto(buffer)


def _stays(*_) -> NoReturn:
    raise AssertionError("the program would have become another one, and the tests with it")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    secrets = {"sandbox-web": WEB_SECRET, "sandbox-machine": MACHINE_SECRET}
    with Sandbox(client_secrets=secrets) as running_sandbox:
        yield running_sandbox


@pytest.fixture
def box(valetkey: Program, sandbox: Sandbox) -> Sandbox:
    """Return the sandbox, with the apps `box` (people) and `robot` (machines) kept for it."""
    for name, client, secret in (("box", "sandbox-web", WEB_SECRET), ("robot", "sandbox-machine", MACHINE_SECRET)):
        prepare("app", "add", name, "--issuer", sandbox.url, "--client-id", client, "--secret-stdin", stdin=secret)
    return sandbox


@pytest.fixture
def robot(valetkey: Program, box: Sandbox) -> Sandbox:
    """Return the sandbox, with the connection robot/one, for which nobody was asked."""
    prepare("connect", "robot/one", "--grant", "client_credentials", "--scope", "read")
    return box


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return where the browser keeps the page it ended on."""
    return tmp_path / "page"


@pytest.fixture
def browser(tmp_path: Path, page: Path, valetkey: Program) -> Callable[[str], None]:
    """Return a way to set what the person in the browser decides; nothing set: allow."""

    def decide(decision: str) -> None:
        script = tmp_path / "browser"
        script.write_text(BROWSER.format(python=sys.executable, path=sys.path, decision=decision, page=str(page)))
        script.chmod(0o700)
        valetkey.env["BROWSER"] = f"{script} %s"

    decide("allow")
    return decide
