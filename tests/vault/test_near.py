"""Names like one that is not there: of the same kind, of the same app first, and nothing where the store is away."""

from __future__ import annotations

import pytest

from valetkey.errors import NotFound, StoreUnavailable
from valetkey.transport.sync import Transport
from valetkey.values import Entry
from valetkey.vault.keeper import Keeper
from valetkey.vault.near import Near
from valetkey.vault.opening import open_world
from valetkey.vault.stores.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path):
    store = SqliteStore.open(tmp_path / "names.db", create=True)
    for record in (
        "app/google",
        "app/goggle-2",
        "connection/google/alice",
        "connection/google/bob",
        "connection/hubspot/alicia",
    ):
        assert store.swap(record, 0, Entry("any", b"box"))
    yield store
    store.close()


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ("app/gogle", ["google", "goggle-2"]),
        ("app/alice", []),  # connections are no apps
        ("connection/google/alise", ["google/alice"]),
        ("connection/gogle/alice", ["google/alice"]),
        ("connection/google/zzz9999", []),
        ("connection/google/tv", []),  # what stands before it makes nothing alike
        ("connection/gogle/tv", []),  # nor does an app alone
    ],
)
def test_names_like_it_are_found(store, record, found):
    assert list(Near(store).like(record))[: len(found) or None] == found


def test_a_store_that_is_away_gives_none(store, monkeypatch):
    def away(*_):
        raise StoreUnavailable("the server does not answer")

    monkeypatch.setattr(store, "names", away)
    monkeypatch.setattr(store, "load", away)
    assert list(Near(store).like("app/gogle")) == []
    refused = Near(store, "/v.db").no_connection("gogle/alice")
    assert (refused.message, "has no" in refused.cause) == ("there is no connection called gogle/alice", False)


def test_a_program_is_told_which_connection_was_perhaps_meant(tmp_path):
    keeper = Keeper(*open_world(tmp_path / "vault.db", transport=Transport))
    with keeper:
        assert keeper._world.store.swap("connection/google/alice", 0, Entry("active", b"box"))
        with pytest.raises(NotFound) as refused:
            keeper.token("gogle/alice")
    assert refused.value.fix.startswith("did you mean google/alice? ")


@pytest.mark.parametrize(
    ("name", "cause", "fix"),
    [
        ("gogle/zoe", "there is no app called gogle in the vault /v.db", "did you mean the app google or goggle-2? "),
        ("gogle/alice", "there is no app called gogle in the vault /v.db", "did you mean google/alice? "),
        ("google/alise", "looked for in the vault /v.db", "did you mean google/alice? "),
        ("goggle-2/x", "the vault /v.db has no connections of goggle-2 yet", "`valetkey connect goggle-2/x` makes it"),
        ("zzzzzz/x", "there is no app called zzzzzz in the vault /v.db", "`valetkey connection list` and "),
    ],
)
def test_what_is_missing_for_a_connection_is_said(store, name, cause, fix):
    refused = Near(store, "/v.db").no_connection(name)
    assert (refused.code, refused.message) == ("not_found", f"there is no connection called {name}")
    assert refused.cause == cause
    assert refused.fix.startswith(fix)
    missing = "no app" in cause
    assert (f"`valetkey app add {name.partition('/')[0]} PROVIDER` adds the app, then" in refused.fix) is missing


def test_an_app_that_is_not_there_was_looked_for_somewhere(store):
    refused = Near(store, "/v.db").no_app("gogle")
    assert (refused.code, refused.cause) == ("not_found", "looked for in the vault /v.db")
    assert refused.fix == (
        "did you mean google or goggle-2? `valetkey app list` shows them; `valetkey app add gogle PROVIDER` makes it"
    )


def test_a_vault_without_apps_says_so_and_that_there_are_others(tmp_path):
    with Keeper(*open_world(tmp_path / "vault.db", transport=Transport)) as keeper:
        for ask, name in ((keeper.app, "google"), (keeper.token, "google/alice")):
            with pytest.raises(NotFound) as refused:
                ask(name)
            assert refused.value.cause == f"the vault {tmp_path / 'vault.db'} has no apps yet"
            assert "`valetkey app add google`" in refused.value.fix  # a name of the catalogue needs no provider
            assert "--vault or VALETKEY_VAULT names another vault" in refused.value.fix
