"""What to type to install what is missing: right for a checkout, for a copy of one, and for a package of an index."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from valetkey.installing import to_add, to_upgrade

HERE = "/opt/an example/bin/python"


class Installed:
    """Be an installed valetkey, of which pip remembered this."""

    def __init__(self, remembered: str | None) -> None:
        self.remembered = remembered

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.remembered


@pytest.fixture
def remembered(monkeypatch):
    """Return a way to say what pip remembers, with this Python's pip found first."""
    monkeypatch.setattr(sys, "executable", HERE)
    monkeypatch.setattr(shutil, "which", lambda _: str(Path(HERE).with_name("pip")))

    def say(text: str | None) -> None:
        monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Installed(text))

    return say


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{",
        "[]",
        json.dumps({"url": "https://files.example/valetkey.whl", "archive_info": {}}),
        json.dumps({"url": "file:///no/such/folder", "dir_info": {"editable": True}}),
    ],
)
def test_a_package_gets_its_extra_from_where_packages_are(remembered, text):
    remembered(text)
    assert to_add("server") == "pip install 'valetkey[server]'"


@pytest.mark.parametrize(("editable", "option"), [(True, "-e "), (False, "")])
def test_a_checkout_is_installed_again_with_its_extra(remembered, tmp_path, editable, option):
    folder = tmp_path / "a checkout"
    folder.mkdir()
    remembered(json.dumps({"url": folder.as_uri(), "dir_info": {"editable": editable}}))
    assert to_add("aws") == f"pip install {option}'{folder}[aws]'"


@pytest.mark.parametrize("found", [None, "/usr/bin/pip"])
def test_the_pip_of_another_python_is_not_named(remembered, monkeypatch, found):
    remembered(None)
    monkeypatch.setattr(shutil, "which", lambda _: found)
    assert shlex.split(to_upgrade("httpx")) == [HERE, "-m", "pip", "install", "--upgrade", "httpx"]
