"""Fixtures of the vault's room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import valetkey
from valetkey.testing import Sandbox
from valetkey.values import Response
from valetkey.vault.desk import Desk
from valetkey.vault.keyring import Keyring
from vaultkit import FakeWorld, connect, sandbox_app


@pytest.fixture
def desk() -> Desk:
    return Desk(Keyring.create(0.0).sealer())


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld(lambda _: Response(500))


@pytest.fixture
def sandbox_vault(tmp_path) -> Iterator[tuple[object, object]]:
    """Give a vault on disk, connected as sb/alice to a strict sandbox."""
    with Sandbox(manner="rotating", access_lifetime=600) as sandbox, valetkey.open(tmp_path / "vault.db") as vault:
        vault.add_app(sandbox_app(sandbox))
        connect(vault, sandbox, "sb/alice")
        yield vault, sandbox
