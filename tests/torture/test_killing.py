"""The short form of the kill -9 torture; `make torture` runs hundreds (docs/torture.md)."""

from __future__ import annotations

import pytest
from killing import KILLS, Provider, kill_at_random, publish

from valetkey.testing import Sandbox
from vaultkit import connect, sandbox_app

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(60 + 10 * KILLS)]


@pytest.mark.parametrize(
    ("manner", "strict"), [("rotating", True), ("rotating_grace", False), ("never_rotates", False)]
)
def test_a_connection_is_lost_only_between_the_answer_and_its_save(tmp_path, manner, strict):
    with Sandbox(manner=manner) as sandbox:

        def consent(vault):
            vault.add_app(sandbox_app(sandbox), replace=True)
            connect(vault, sandbox, "sb/alice")

        provider = Provider(consent, lambda: sandbox.count("refresh_token", "ok"), strict)
        report = kill_at_random(tmp_path / "vault.db", "sb/alice", provider, KILLS, seed=1)
    publish(f"sandbox, {manner}", report)
    assert report.violations == []
    assert report.kills == KILLS
