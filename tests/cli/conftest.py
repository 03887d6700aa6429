"""The program, a sandbox to connect to, and a browser that consents.

What may not be here: expectations.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clikit import BROWSER, MACHINE_SECRET, WEB_SECRET, Done, Program, prepare
from valetkey.cli import running
from valetkey.testing import Sandbox


@pytest.fixture
def valetkey(home: Path) -> Program:
    """Return the program, in the test's own empty home."""
    return Program()


@pytest.fixture
def inside(home: Path, capsys, monkeypatch) -> Callable[..., Done]:
    """Return the program without a process of its own: cheap, for what reads no terminal and becomes no other program."""

    def call(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = running.run(list(arguments))
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return Done(code, shown.out, shown.err)

    return call


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
