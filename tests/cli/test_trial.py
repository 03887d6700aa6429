"""The sandbox beside a vault: one at a time."""

from __future__ import annotations

import msgspec
import pytest

import valetkey
from clikit import kept
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


def test_an_app_that_names_the_sandbox_by_its_issuer_is_the_sandboxs(home, inside):
    with Sandbox() as first:
        words = ("--issuer", first.url, "--client-id", "sandbox-web", "--secret-stdin")
        assert inside("app", "add", "sandbox", *words, stdin="any-secret-0123456789").code == 0
        assert kept("sandbox").provider == "discovered"
    with valetkey.open() as vault, Sandbox() as second:
        register(second, vault)
        connect(vault, second, "sandbox/alice")
        assert vault.app("sandbox").provider == "sandbox"


def test_an_app_of_somebody_else_keeps_its_name_and_the_way_out_leads_out(home, inside):
    add = ("app", "add", "sandbox", "github", "--client-id", "me", "--public")
    assert inside(*add).code == 0
    with Sandbox() as box:
        with valetkey.open() as vault, pytest.raises(AlreadyExists, match="not the sandbox's") as refused:
            register(box, vault, where="/a b/vault.db")
        assert "`valetkey app rm sandbox --vault '/a b/vault.db'`" in refused.value.fix
        assert "make run" in refused.value.fix
        turned = inside("app", "add", "sandbox", "sandbox", "--replace", "--json")
        assert (turned.code, "`valetkey app rm sandbox`" in turned.error["fix"]) == (2, True)
        assert inside("app", "rm", "sandbox").code == 0
        with valetkey.open() as vault:
            register(box, vault)
        assert kept("sandbox").provider == "sandbox"


def test_the_sandboxs_app_is_changed_but_not_turned_into_a_discovered_one(home, inside):
    with Sandbox() as box:
        with valetkey.open() as vault:
            register(box, vault)
        before = kept("sandbox")
        turned = inside("app", "add", "sandbox", "--replace", "--issuer", box.url, "--json")
        assert (turned.code, turned.error["code"]) == (2, "invalid_input")
        assert "`valetkey app add sandbox generic --issuer … --replace`" in turned.error["fix"]
        assert kept("sandbox") == before
        assert inside("app", "add", "sandbox", "sandbox", "--replace", "--scope", "read").code == 0
        assert kept("sandbox") == msgspec.structs.replace(before, scopes=("read",))
        assert inside("app", "add", "sandbox", "generic", "--issuer", box.url, "--replace").code == 0
        assert kept("sandbox").provider == "discovered"


def test_the_sandboxs_urls_are_its_own_to_put_back(home, inside):
    with Sandbox() as box:
        with valetkey.open() as vault:
            register(box, vault)
        refused = inside("app", "add", "sandbox-cli", "--revoke-url", "", "--replace", "--json")
        assert (refused.code, refused.error["code"]) == (2, "invalid_input")
        assert "at its next start" in refused.error["fix"]
        revoking = kept("sandbox-cli").described.endpoints.revoke
        assert inside("app", "add", "sandbox-cli", "--revoke-url", f"{box.url}/x", "--replace").code == 0
        with valetkey.open() as vault:
            register(box, vault)
        assert kept("sandbox-cli").described.endpoints.revoke == revoking
