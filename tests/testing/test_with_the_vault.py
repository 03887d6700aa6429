"""Every manner, met by our own vault that knows nothing of it but `sandbox.provider()`."""

import os

import pytest

import valetkey
from valetkey.errors import NeedsReconnect
from valetkey.testing import MANNERS
from valetkey.values import Secret
from valetkey.vault.connect import Wish
from valetkey.vault.records import App

pytestmark = pytest.mark.network

REFRESHED = sorted(name for name, habits in MANNERS.items() if habits.refresh_given != "never")


@pytest.fixture
def vault(tmp_path):
    with valetkey.open(tmp_path / "vault.db") as opened:
        yield opened


def connect(hand, vault):
    described, client = hand.sandbox.provider(), hand.sandbox.clients["sandbox-web"]
    facts = {"client_id": client.id, "secret": client.secret, "token_auth": described.asking.token_auth}
    vault.add_app(App(name="box", provider="sandbox", described=described, created_at=0, **facts))
    binding = Secret(os.urandom(16).hex())
    started = vault.begin("box/alice", redirect_uri=hand.callback, binding=binding, wish=Wish(scopes=("read", "write")))
    vault.finish(hand.sandbox.login(started.url), binding=binding)


@pytest.mark.parametrize("manner", REFRESHED)
def test_a_connection_stays_fresh_through_two_refreshes_whatever_the_manner(opened, vault, manner):
    hand = opened(manner)
    connect(hand, vault)
    tokens = [vault.token("box/alice"), vault.refresh("box/alice"), vault.refresh("box/alice")]
    assert [hand.whoami(token.reveal()).status for token in tokens] == [200, 200, 200]
    assert len({token.reveal() for token in tokens}) == 3
    assert hand.sandbox.count("refresh_token") == hand.sandbox.count("refresh_token", "ok") == 2
    assert hand.sandbox.grant_alive("alice")


@pytest.mark.parametrize("manner", sorted(set(MANNERS) - set(REFRESHED)))
def test_without_a_refresh_token_the_token_is_used_and_then_a_person_is_needed(opened, vault, manner):
    hand = opened(manner)
    connect(hand, vault)
    assert hand.whoami(vault.token("box/alice").reveal()).status == 200
    with pytest.raises(NeedsReconnect):
        vault.refresh("box/alice")
    assert hand.sandbox.count("refresh_token") == 0
