"""A whole vault in a KV engine: connected, refreshed by two at once, found again; and what happens when it is sealed."""

from __future__ import annotations

import threading

import pytest

import valetkey
from valetkey.errors import StoreUnavailable, VaultMissing
from valetkey.testing import Sandbox
from valetkey.vault.stores.hashicorp import SCHEME, HashiCorpStore
from vaultkit import connect, expire, sandbox_app

pytestmark = pytest.mark.network


@pytest.fixture
def url(reached, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", reached.address)
    monkeypatch.setenv("VAULT_TOKEN", reached.token)
    return SCHEME + reached.folder


def test_a_vault_lives_there_and_two_that_refresh_at_once_spend_the_refresh_token_once(url, canary):
    with Sandbox(manner="rotating", access_lifetime=600) as sandbox, valetkey.open(url) as vault:
        vault.add_app(sandbox_app(sandbox))
        connect(vault, sandbox, "sb/alice")
        expire(vault, "sb/alice")
        with valetkey.open(url) as other:
            got, begin = [], threading.Barrier(2)

            def ask(one):
                begin.wait()
                got.append(one.token("sb/alice").reveal())

            threads = [threading.Thread(target=ask, args=(one,)) for one in (vault, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(set(got)) == 1
            assert other.connection("sb/alice").refreshes == 1
            assert other.states() == {"active": 1}
            assert [line.kind for line in other.events(50)].count("refresh.started") == 1
        canary.watch("access token", got[0])
        store = vault._world.store
        canary.assert_absent(*(store.load(name).box for name in store.names("", "", 50)), repr(vault))


def test_a_place_with_no_vault_is_told_from_one(url):
    with pytest.raises(VaultMissing):
        HashiCorpStore.open(url, create=False)


def test_a_sealed_vault_is_a_store_that_is_down(vault_server, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", vault_server.address)
    monkeypatch.setenv("VAULT_TOKEN", vault_server.root)
    store = HashiCorpStore.open(f"{SCHEME}kv/valetkey", create=True)
    vault_server.sealed = True
    with pytest.raises(StoreUnavailable):
        store.load("app/sb")
    store.close()
