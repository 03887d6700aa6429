"""The sandbox beside a vault: one at a time."""

from __future__ import annotations

import pytest

import valetkey
from valetkey.cli.trial import register
from valetkey.errors import AlreadyExists
from valetkey.testing import Sandbox
from vaultkit import connect

pytestmark = pytest.mark.network


def test_a_second_try_does_not_take_the_vault_of_one_that_runs(tmp_path):
    with valetkey.open(tmp_path / "vault.db") as vault:
        with Sandbox() as first, Sandbox() as second:
            assert register(first, vault) == 0
            connect(vault, first, "sandbox/alice")
            with pytest.raises(AlreadyExists, match="is running already") as refused:
                register(second, vault)
            assert first.url in refused.value.message
            assert vault.connection("sandbox/alice").state == "active"
            assert register(first, vault) == 1, "the same one may register anew"
        with Sandbox() as third:
            assert register(third, vault) == 0, "the first is gone"
