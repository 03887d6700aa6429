"""Where a vault may be, and what belongs to it: files, databases, their keys and their spilled tokens."""

from __future__ import annotations

import pickle
from pathlib import Path

import psycopg
import pytest

import valetkey
from valetkey.errors import InvalidInput, KeyMissing, StoreUnavailable, VaultMissing, VaultUnreadable, WrongKey
from valetkey.transport.sync import Transport
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring
from valetkey.vault.opening import default_path, open_world
from valetkey.vault.places import Place, refuse_unused
from valetkey.vault.quick import quick_token
from valetkey.vault.stores.missing import no_vault
from valetkey.vault.stores.postgres import PostgresStore
from valetkey.vault.stores.sqlite import SqliteStore
from vaultkit import START, a_connection, an_app
from vaultprocs import make_vault, together

T0 = START.timestamp()


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("vault.db", "vault.db"),
        ("/a/b.db", "/a/b.db"),
        (Path("/a/b.db"), "/a/b.db"),
        ("sqlite:a/b.db", "a/b.db"),
        ("sqlite:/a/b.db", "/a/b.db"),
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///a/b.db", "a/b.db"),
    ],
)
def test_a_path_is_a_file_with_and_without_its_scheme(given, path):
    assert Place.of(given) == Place(path=Path.cwd() / path)


def test_a_tilde_is_home(home):
    assert Place.of("~/v.db").path == home / "v.db"


@pytest.mark.parametrize("url", ["postgresql://alice@db.test/v", "postgres://db.test:5433/v?sslmode=require"])
def test_a_postgresql_url_is_a_database(url):
    place = Place.of(url)
    assert (place.path, place.url) == (None, url)
    assert place.shown.startswith("postgresql://db.test")


@pytest.mark.parametrize("url", ["mysql://db.test/v", "https://valetkey.test", "file:///a"])
def test_no_other_url_is_a_vault(url):
    with pytest.raises(InvalidInput) as refused:
        Place.of(url)
    assert "postgresql://" in refused.value.fix


def test_a_url_that_has_become_a_path_is_noticed():
    with pytest.raises(InvalidInput):
        Place.of(Path("postgresql://alice@db.test/v"))


def test_the_variable_names_a_database_too(monkeypatch):
    monkeypatch.setenv("VALETKEY_VAULT", "postgresql://db.test/v")
    assert Place.of().url == "postgresql://db.test/v"
    with pytest.raises(InvalidInput):
        default_path()


def test_nothing_secret_is_in_the_repr_of_a_place(canary):
    place = Place.of(f"postgresql://alice:{canary.make()}@db.test/v")
    canary.assert_absent(repr(place), str(place), place.shown)


# ── a vault in a database ────────────────────────────────────────────────────────────────────────────────────────


def test_a_vault_is_opened_by_its_url_and_has_its_key_in_the_data_folder(postgres, home):
    with valetkey.open(postgres) as vault:
        vault.add_app(an_app())
        assert isinstance(vault._world.store._store, PostgresStore)
        box = vault._world.store.load("keyring").box
    key = home / "data" / "valetkey" / "keys" / f"{Keyring.vault_id_of(box).hex()}.key"
    assert KeyFile.read(str(key))
    with valetkey.open(postgres, create=False) as vault:
        assert [app.name for app in vault.apps()] == ["acme"]


async def test_it_opens_for_asyncio_too(postgres):
    async with valetkey.open_async(postgres) as vault:
        assert [line.kind for line in await vault.events()] == ["audit.begun", "vault.created"]


def test_where_the_key_is_missing_the_error_says_where_it_is_looked_for(postgres, home):
    valetkey.open(postgres).close()
    (key,) = (home / "data" / "valetkey" / "keys").iterdir()
    key.rename(home / "moved.key")
    with pytest.raises(KeyMissing, match=str(key)):
        valetkey.open(postgres)
    valetkey.open(postgres, key_file=home / "moved.key").close()


def test_a_key_named_by_the_variable_is_made_and_found_there(postgres, home, monkeypatch):
    monkeypatch.setenv("VALETKEY_KEY_FILE", str(home / "mounted.key"))
    valetkey.open(postgres).close()
    assert KeyFile.read(str(home / "mounted.key"))
    valetkey.open(postgres).close()


def test_a_wrong_key_writes_nothing(postgres, home):
    valetkey.open(postgres).close()
    KeyFile.create(str(home / "stranger.key"))
    with psycopg.connect(postgres, autocommit=True) as look:
        tables = [f"SELECT * FROM {table} ORDER BY 1" for table in ("valetkey_records", "valetkey_audit")]
        before = [look.execute(table).fetchall() for table in tables]
        with pytest.raises(WrongKey):
            valetkey.open(postgres, key_file=home / "stranger.key")
        assert [look.execute(table).fetchall() for table in tables] == before
    assert len(before[0]) == 2


def test_six_processes_that_open_a_new_vault_at_once_share_one_key(postgres, home):
    boxes = together(6, make_vault, postgres)
    assert len(set(boxes)) == 1
    assert [key.stem for key in (home / "data" / "valetkey" / "keys").iterdir()] == [
        Keyring.vault_id_of(boxes[0]).hex()
    ]
    with valetkey.open(postgres) as vault:
        assert len(list(vault.apps())) == 6


def test_an_empty_text_is_no_place():
    with pytest.raises(InvalidInput, match="an empty text"):
        valetkey.open("")


def test_a_key_that_cannot_be_written_makes_no_vault(postgres, home):
    (home / "data" / "valetkey").write_text("a file where a folder should be")
    with pytest.raises(StoreUnavailable) as refused:
        valetkey.open(postgres)
    assert "--key-file" in refused.value.fix
    with psycopg.connect(postgres) as look:
        assert look.execute("SELECT count(*) FROM valetkey_records").fetchone() == (0,)


def test_what_was_spilled_lies_in_the_state_folder_and_comes_home(postgres, home):
    desk, world = open_world(postgres, transport=Transport)
    world.store.swap("app/acme", 0, desk.seal_app(an_app()))
    consented = a_connection()
    from valetkey.effects import Spill

    world.answer(Spill("connection/acme/alice", desk.seal_connection(consented, T0)))
    world.store.close()
    (folder,) = (home / "state" / "valetkey").iterdir()
    assert len(list(folder.iterdir())) == 1
    desk, world = open_world(postgres, transport=Transport)
    assert desk.connection("acme/alice", world.store.load("connection/acme/alice")) == consented
    assert list(folder.iterdir()) == []
    world.store.close()


def test_the_short_way_leaves_databases_to_the_long_one(postgres, tmp_path):
    assert quick_token("acme/alice", postgres, str(tmp_path / "any.key")) is None


@pytest.mark.parametrize("state", ["backup", "copying", "moving", "moved"])
def test_a_vault_that_is_not_in_use_refuses_with_a_fix(state):
    with pytest.raises(VaultUnreadable) as refused:
        refuse_unused(state, "/a/vault.db")
    assert refused.value.code == "vault_not_in_use"
    assert "`valetkey vault " in refused.value.fix
    assert refused.value.cause


def test_a_vault_in_use_is_not_refused():
    assert refuse_unused("keyring", "/a/vault.db") is None


def test_the_short_way_gives_no_token_of_a_vault_that_was_moved(tmp_path):
    path = tmp_path / "vault.db"
    desk, world = open_world(path, transport=Transport)
    fresh = a_connection(expires_in=None)
    world.store.swap("connection/acme/alice", 0, desk.seal_connection(fresh, T0))
    world.store.close()
    key = str(path.with_suffix(".key"))
    assert quick_token("acme/alice", str(path), key) == fresh.tokens.access.reveal()
    from valetkey.vault.stores.bulk import bulk_of

    store = SqliteStore.open(path, create=False)
    with bulk_of(store) as tables:
        tables.mark("moved", frozen=True)
    store.close()
    assert quick_token("acme/alice", str(path), key) is None


def test_places_can_be_handed_to_other_processes():
    place = Place.of("postgresql://db.test/v")
    assert pickle.loads(pickle.dumps(place)) == place


def test_a_vault_in_aws_secrets_manager_is_refused_with_what_to_use_instead():
    with pytest.raises(InvalidInput, match="cannot be kept in AWS") as caught:
        Place.of("aws-sm://prod/vault")
    assert "PostgreSQL" in caught.value.fix
    assert "KMS" in caught.value.fix


@pytest.mark.parametrize("url", ["vault+kv://", "vault+kv://secret", "vault+kv://secret/../sys", "vault+kv://a b/c"])
def test_what_names_no_place_in_a_kv_engine_is_refused(url):
    with pytest.raises(InvalidInput, match="no place in a KV engine"):
        Place.of(url).open(create=True)


def test_a_vault_stays_where_it_is_when_the_program_changes_its_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with valetkey.open("vault.db", create=True) as vault:
        monkeypatch.chdir("elsewhere")
        vault._world.store.close()  # the connections that know the file already
        assert vault.states() == {}
        assert str(tmp_path / "vault.db") in repr(vault)


@pytest.mark.parametrize(
    ("url", "typed"),
    [
        ("postgresql://db.test/v", "postgresql://db.test/v"),
        ("postgresql://alice@db.test:5433/v", "postgresql://alice@db.test:5433/v"),
        (
            "postgresql://alice@db.test/v?sslmode=verify-full&options=-csearch_path%3Da&connect_timeout=3",
            "'postgresql://alice@db.test/v?sslmode=verify-full&connect_timeout=3'",
        ),
        ("postgresql://alice:{secret}@db.test/v", "postgresql://db.test/v"),
        ("postgresql://alice%3A{secret}@db.test/v", "postgresql://db.test/v"),
        ("postgresql://:{secret}@db.test/v", "postgresql://db.test/v"),
        ("postgresql://alice@db.test/v?password={secret}", "postgresql://alice@db.test/v"),
        (
            "postgresql://alice@db.test/v?sslmode=require&sslpassword={secret}",
            "'postgresql://alice@db.test/v?sslmode=require'",
        ),
        ("vault+kv://kv/team", "vault+kv://kv/team"),
    ],
)
def test_the_command_that_makes_a_vault_in_a_database_names_it_without_its_secrets(url, typed, canary, monkeypatch):
    url, where = url.format(secret=canary.make()), "postgresql://db.test/v"
    refusal = no_vault(where, url)
    assert f"`valetkey --vault {typed} vault init`" in refusal.fix
    canary.assert_absent(refusal.explain(), repr(refusal.to_dict()))
    monkeypatch.setenv("VALETKEY_VAULT", url)
    named = no_vault(where, url)
    assert (named.cause, "`valetkey vault init`" in named.fix) == ("VALETKEY_VAULT names this place", True)
    canary.assert_absent(named.explain())


def test_a_database_without_a_vault_is_named_with_the_command_that_makes_one(postgres, home):
    with pytest.raises(VaultMissing) as refused:
        valetkey.open(postgres, create=False)
    place = Place.of(postgres)
    assert refused.value.message == f"there is no vault at {place.shown}"
    assert "`valetkey --vault " in refused.value.fix
    assert place.shown.partition("://")[2].rpartition("/")[2] in refused.value.fix
