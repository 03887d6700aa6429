"""The theft drill: a thief reads every row, or writes to them, and has no key. On SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from valetkey.errors import VaultDamaged
from valetkey.values import Secret
from valetkey.vault.desk import Desk
from valetkey.vault.keyring import Keyring
from valetkey.vault.staged import Proof, Staged
from valetkey.vault.stores.postgres import PostgresStore
from valetkey.vault.stores.sqlite import SqliteStore
from vaultkit import START, a_connection, an_app

NAME, OTHER, APP = "connection/acme/alice", "connection/acme/bob", "app/acme"
T0 = START.timestamp()


class Thief:
    """Whoever reads and writes the rows, with SQL and without valetkey."""

    def __init__(self, connect, mark, table="records"):
        self.connect, self.mark, self.table = connect, mark, table

    def __call__(self, statement, *values):
        with self.connect() as connection:
            found = connection.execute(statement.replace("?", self.mark).replace("records", self.table), values)
            rows = found.fetchall() if found.description else []
        connection.close()
        return rows


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.network, pytest.mark.allow_hosts(["127.0.0.1"])])]
)
def robbed(request, tmp_path, canary):
    """Give a store with secrets in it, the desk that sealed them, and the thief."""
    if request.param == "sqlite":
        store = SqliteStore.open(tmp_path / "vault.db", create=True)
        thief = Thief(lambda: sqlite3.connect(tmp_path / "vault.db"), "?")
    else:
        import psycopg

        url = request.getfixturevalue("postgres")
        store, thief = (
            PostgresStore.open(url, create=True),
            Thief(lambda: psycopg.connect(url), "%s", "valetkey_records"),
        )
    desk = Desk(Keyring.create(0.0).sealer())
    staged = Staged(proof=Proof(secret=Secret(canary.make("staged secret"))))
    app = an_app(secret=Secret(canary.make("client secret")), staged=staged)
    assert store.swap(APP, 0, desk.seal_app(app))
    for record, label in ((NAME, "alice"), (OTHER, "bob")):
        made = a_connection(refresh=canary.make("refresh token"), label=label)
        tokens = msgspec.structs.replace(made.tokens, access=Secret(canary.make("access token")))
        assert store.swap(record, 0, desk.seal_connection(msgspec.structs.replace(made, tokens=tokens), T0))
    yield store, desk, thief
    store.close()


def test_every_row_and_file_read_without_the_key_shows_no_secret(robbed, canary, tmp_path):
    _store, _desk, thief = robbed
    rows = thief("SELECT * FROM records")
    assert len(rows) == 3
    canary.assert_absent(
        tmp_path, repr(rows), *(bytes(cell) for row in rows for cell in row if isinstance(cell, bytes))
    )


EDITS = {
    "swapped for another row's": lambda boxes: boxes[OTHER],
    "swapped for another kind's": lambda boxes: boxes[APP],
    "truncated": lambda boxes: boxes[NAME][:-1],
    "cut to its head": lambda boxes: boxes[NAME][:5],
    "emptied": lambda _: b"",
    "edited in its last bit": lambda boxes: boxes[NAME][:-1] + bytes([boxes[NAME][-1] ^ 1]),
    "edited in its nonce": lambda boxes: boxes[NAME][:8] + bytes([boxes[NAME][8] ^ 1]) + boxes[NAME][9:],
    "given another key's id": lambda boxes: boxes[NAME][:1] + bytes([boxes[NAME][1] ^ 1]) + boxes[NAME][2:],
    "lengthened": lambda boxes: boxes[NAME] + b"x",
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_box_that_was_changed_or_moved_does_not_open(robbed, edit):
    store, desk, thief = robbed
    boxes = {name: bytes(box) for name, box in thief("SELECT name, box FROM records")}
    thief("UPDATE records SET box = ? WHERE name = ?", EDITS[edit](boxes), NAME)
    with pytest.raises(VaultDamaged) as caught:
        desk.connection("acme/alice", store.load(NAME))
    assert caught.value.code == "vault_damaged"
    assert desk.connection("acme/bob", store.load(OTHER)).label == "bob", "the others are not affected"


def test_a_row_under_another_name_does_not_open(robbed):
    store, desk, thief = robbed
    thief("DELETE FROM records WHERE name = ?", OTHER)
    thief("UPDATE records SET name = ? WHERE name = ?", OTHER, NAME)
    with pytest.raises(VaultDamaged):
        desk.connection("acme/bob", store.load(OTHER))


def test_columns_edited_in_the_clear_change_no_secret(robbed):
    store, desk, thief = robbed
    before = desk.connection("acme/alice", store.load(NAME))
    thief("UPDATE records SET state = 'revoked', due_at = NULL, version = version + 7 WHERE name = ?", NAME)
    entry = store.load(NAME)
    assert entry.state == "revoked"
    assert desk.connection("acme/alice", entry) == before, "the record says itself what it is"
    assert store.swap(NAME, entry.version, desk.seal_connection(before, T0))
    assert store.load(NAME).state == "active", "the next write puts the columns right"


def test_an_older_copy_of_a_row_opens_as_security_md_says(robbed):
    # If this fails because it is detected now: good; say so in SECURITY.md.
    store, desk, thief = robbed
    before = store.load(NAME)
    newer = msgspec.structs.replace(desk.connection("acme/alice", before), generation=9)
    assert store.swap(NAME, before.version, desk.seal_connection(newer, T0))
    thief("UPDATE records SET box = ?, version = ? WHERE name = ?", before.box, before.version, NAME)
    assert desk.connection("acme/alice", store.load(NAME)).generation == 1
