"""The HTTP clients are the user's: loaded only when used, and named where they are missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import valetkey
from valetkey.errors import InvalidInput
from valetkey.installing import to_upgrade

CLIENTS = ("httpx", "requests", "aiohttp")
COME_WITH = {"httpx": ("httpcore",), "requests": ("urllib3",)}


@pytest.fixture
def vault(tmp_path):
    with valetkey.open(tmp_path / "vault.db") as opened:
        yield opened


def test_the_library_loads_no_http_client_of_the_user():
    program = "import sys, valetkey.library; print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program, *CLIENTS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("package", "method"),
    [
        ("httpx", "transport"),
        ("httpx", "async_transport"),
        ("httpx", "auth"),
        ("requests", "session"),
        ("requests", "requests_adapter"),
        ("requests", "requests_auth"),
        ("aiohttp", "aiohttp_middleware"),
    ],
)
def test_a_client_that_is_missing_is_named_with_what_to_install(vault, monkeypatch, package, method):
    monkeypatch.delitem(sys.modules, f"valetkey.inject.{package}", raising=False)
    for gone in (package, *COME_WITH.get(package, ())):
        monkeypatch.setitem(sys.modules, gone, None)  # importing it now raises ModuleNotFoundError
    with pytest.raises(InvalidInput) as missing:
        getattr(vault, method)("google/alice")
    assert (package in str(missing.value), missing.value.fix) == (True, to_upgrade(package))


def test_a_client_that_is_there_but_broken_is_not_called_missing(vault, monkeypatch):
    monkeypatch.delitem(sys.modules, "valetkey.inject.requests", raising=False)
    monkeypatch.setitem(sys.modules, "urllib3.exceptions", None)
    with pytest.raises(ModuleNotFoundError, match=r"urllib3\.exceptions"):
        vault.session("google/alice")


def test_an_async_vault_has_the_transport_under_both_names(vault):
    aside = valetkey.AsyncVault(vault)
    assert type(aside.transport("google/alice")) is type(aside.async_transport("google/alice"))
