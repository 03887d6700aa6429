"""Names like one that is not there: of the same kind, of the same app first, and nothing where the store is away."""

from __future__ import annotations

import pytest

from valetkey.errors import NotFound, StoreUnavailable
from valetkey.transport.sync import Transport
from valetkey.values import Entry
from valetkey.vault.keeper import Keeper
from valetkey.vault.near import near_in
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
    assert list(near_in(store)(record))[: len(found) or None] == found


def test_a_store_that_is_away_gives_none(store, monkeypatch):
    def away(*_):
        raise StoreUnavailable("the server does not answer")

    monkeypatch.setattr(store, "names", away)
    assert list(near_in(store)("app/gogle")) == []


def test_a_program_is_told_which_connection_was_perhaps_meant(tmp_path):
    keeper = Keeper(*open_world(tmp_path / "vault.db", transport=Transport))
    with keeper:
        assert keeper._world.store.swap("connection/google/alice", 0, Entry("active", b"box"))
        with pytest.raises(NotFound) as refused:
            keeper.token("gogle/alice")
    assert refused.value.fix.startswith("did you mean google/alice? ")
