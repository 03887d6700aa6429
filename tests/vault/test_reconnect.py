"""Connecting again while a token of the grant before is still remembered: the new grant's token is given at once."""

from __future__ import annotations

import pytest

import valetkey
from valetkey.testing import Sandbox
from valetkey.vault.connect import Wish
from vaultkit import connect, sandbox_app

pytestmark = pytest.mark.network


@pytest.fixture
def vault(tmp_path):
    with Sandbox() as sandbox, valetkey.open(tmp_path / "vault.db") as opened:
        opened.add_app(sandbox_app(sandbox))
        opened.add_app(sandbox_app(sandbox, "sandbox-machine", "robot"))
        yield opened, sandbox


def test_a_person_who_connects_again_is_given_the_new_token_at_once(vault):
    opened, sandbox = vault
    connect(opened, sandbox, "sb/alice")
    old = opened.credential("sb/alice").token
    info = connect(opened, sandbox, "sb/alice")
    assert opened.token("sb/alice").fingerprint() == info.access_fingerprint != old.fingerprint()
    assert opened.credential("sb/alice").token.fingerprint() == info.access_fingerprint


def test_a_machine_that_connects_again_is_given_the_new_token_at_once(vault):
    opened, _sandbox = vault
    wish = Wish(scopes=("read",))
    opened.connect_machine("robot/one", "client_credentials", wish=wish)
    old = opened.token("robot/one")
    info = opened.connect_machine("robot/one", "client_credentials", wish=wish)
    assert opened.token("robot/one").fingerprint() == info.access_fingerprint != old.fingerprint()
