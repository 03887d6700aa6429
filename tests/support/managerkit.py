"""Secret managers for tests: AWS as moto serves it over HTTP, HashiCorp Vault as tests/support/hashicorp does.

With TEST_VAULT_ADDR and TEST_VAULT_TOKEN set, what uses `hashicorp_address` speaks to that real server instead.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import urllib3

from hashicorp import VaultServer
from valetkey.managers.hashicorp import HashiCorp, Settings
from valetkey.values import Secret

REGION = "eu-central-1"


@pytest.fixture
def vault_server() -> Iterator[VaultServer]:
    """Give the small conforming server, whose clock, seal and failures tests control."""
    with VaultServer() as server:
        yield server


@dataclass
class Reached:
    """Be a Vault that can be asked as root: where it is, and a path below which nobody else writes."""

    manager: HashiCorp
    address: str
    token: str
    folder: str


@pytest.fixture
def reached(request) -> Iterator[Reached]:
    """Give a Vault: the real one of TEST_VAULT_ADDR, else the conforming one."""
    address, token = os.environ.get("TEST_VAULT_ADDR", ""), os.environ.get("TEST_VAULT_TOKEN", "")
    if not address:
        server = request.getfixturevalue("vault_server")
        address, token = server.address, server.root
    manager = HashiCorp(Settings(address, credential=Secret(token)))
    mount = os.environ.get("TEST_VAULT_KV", "secret")
    yield Reached(manager, address, token, f"{mount}/valetkey-{uuid.uuid4().hex}")
    manager.close()


@pytest.fixture(scope="session")
def _moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws_endpoint(_moto, monkeypatch) -> str:
    """Give moto's address, with credentials in the environment, and nothing left of other tests."""
    urllib3.request("POST", f"{_moto}/moto-api/reset")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "moto-looks-at-no-signature")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _moto)
    return _moto
