"""The examples of docs/inject.md run as they are typed, against the sandbox in the place of the example's API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import valetkey

pytestmark = pytest.mark.network

PAGE = Path(__file__).parents[2] / "docs" / "inject.md"


def test_every_example_runs_and_prints_200(sandbox, vault, monkeypatch, capsys):
    monkeypatch.setattr(valetkey, "open", lambda: vault)
    monkeypatch.setenv("NO_PROXY", "*")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    whole = "\n".join(blocks) + "\nclient.close()\nsession.close()\n"
    typed = whole.replace("google/alice", "sandbox/alice").replace(
        "https://api.example.com/me", f"{sandbox.url}/api/whoami"
    )
    exec(compile(typed, str(PAGE), "exec"), {})
    assert capsys.readouterr().out.split() == ["200"] * whole.count("print(")
    assert len(blocks) > 5
