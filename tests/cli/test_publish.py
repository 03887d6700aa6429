"""`valetkey publish`: what is refused, listed and said. That tokens arrive is shown in tests/vault/test_publishing.py."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _vault(inside):
    done = inside("app", "add", "acme", "--token-url", "https://acme.example/token", "--client-id", "me", "--public")
    assert done.code == 0


def test_nothing_is_published_until_one_says_so(inside):
    assert inside("publish", "list", "--json").json == []
    assert "publish add" in inside("publish", "list").err
    assert inside("publish", "now", "--json").json == {"written": 0}


def test_a_connection_that_is_not_there_is_not_found(inside, tmp_path):
    assert inside("publish", "add", "acme/alice", f"file:{tmp_path}/token", "--json").error["code"] == "not_found"
    assert inside("publish", "rm", "acme/alice", f"file:{tmp_path}/token", "--json").error["code"] == "not_found"


@pytest.mark.parametrize("target", ["token", "env:TOKEN", "vault:kv/a#field", "file:here"])
def test_where_nothing_can_be_written_is_refused(inside, target):
    assert inside("publish", "add", "acme/alice", target, "--json").error["code"] == "invalid_input"
