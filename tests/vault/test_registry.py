"""Apps: what could not be used is refused when it is added, and nobody's change is overwritten unseen."""

from __future__ import annotations

from contextlib import nullcontext

import msgspec
import pytest

from valetkey.effects import Swap
from valetkey.errors import AlreadyExists, InvalidInput, KeyRefused, NotFound, ValetkeyError
from valetkey.values import Secret
from valetkey.vault import names
from valetkey.vault.registry import add_app, remove_app
from vaultkit import START, an_app, drive, put

T0 = START.timestamp()


def kept(desk, world, name="acme"):
    return desk.app(name, world.store.load(f"app/{name}"))


def test_an_app_is_kept_with_the_time_it_was_added(desk, world):
    made = drive(add_app(desk, an_app(created_at=0.0)), world)
    assert made == kept(desk, world) == an_app(created_at=T0, secret_since=T0)
    assert world.notes == [("app.added", "ok", "")]
    assert world.store.load("app/acme").state == "app"


def test_an_app_is_not_replaced_unless_asked(desk, world):
    put(desk, world, an_app())
    with pytest.raises(AlreadyExists) as caught:
        drive(add_app(desk, an_app(client_id="client-2")), world)
    assert "--replace" in caught.value.fix
    assert kept(desk, world) == an_app()


def test_a_replaced_app_keeps_the_time_it_was_added(desk, world):
    put(desk, world, an_app())
    world.advance(1000)
    drive(add_app(desk, an_app(client_id="client-2", secret=Secret("new")), replace=True), world)
    after = kept(desk, world)
    assert (after.client_id, after.secret, after.created_at) == ("client-2", Secret("new"), T0)
    assert world.notes == [("app.replaced", "ok", "")]


def test_a_replaced_app_with_the_same_secret_has_had_it_since_then(desk, world):
    put(desk, world, an_app(secret_since=T0))
    world.advance(1000)
    drive(add_app(desk, an_app(client_id="client-2"), replace=True), world)
    assert kept(desk, world).secret_since == T0
    drive(add_app(desk, an_app(secret=Secret("new")), replace=True), world)
    assert kept(desk, world).secret_since == T0 + 1000


def test_an_app_made_of_another_takes_the_place_of_that_one_alone(desk, world):
    put(desk, world, an_app())
    drive(add_app(desk, an_app(scopes=("x",)), over=an_app()), world)
    assert kept(desk, world).scopes == ("x",)
    for stale in (an_app(), an_app(client_id="other")):
        with pytest.raises(AlreadyExists):
            drive(add_app(desk, an_app(scopes=("y",)), over=stale), world)
    assert kept(desk, world).scopes == ("x",)


def test_an_app_made_of_one_that_is_gone_is_not_kept(desk, world):
    with pytest.raises(AlreadyExists):
        drive(add_app(desk, an_app(), over=an_app()), world)
    assert world.store.names("", "", 10) == []


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"token_auth": "none", "secret": None}, True),
        ({}, False),
        ({"token_auth": "none", "secret": None, "grant": "device_code"}, False),
        ({"token_auth": "none", "secret": None, "grant": None}, False),
    ],
)
def test_a_public_client_has_no_client_credentials_grant(desk, world, changes, refused):
    """RFC 6749 section 4.4: the client credentials grant type MUST only be used by confidential clients."""
    app = an_app(**{"grant": "client_credentials", **changes})
    with pytest.raises(InvalidInput, match="public client") if refused else nullcontext():
        drive(add_app(desk, app), world)
    assert (world.store.load("app/acme") is None) is refused


def test_an_app_may_be_replaced_before_it_is_there(desk, world):
    drive(add_app(desk, an_app(), replace=True), world)
    assert world.notes == [("app.added", "ok", "")]


UNUSABLE = [
    ("a bad name", {"name": "Acme!"}, InvalidInput),
    ("no secret where one is sent", {"secret": None}, ValetkeyError),
    ("an unknown provider", {"described": None, "provider": "nobody-knows"}, NotFound),
    ("no key where one signs", {"token_auth": "private_key_jwt"}, InvalidInput),
    ("a key that is none", {"token_auth": "private_key_jwt", "private_key": Secret("not a PEM")}, KeyRefused),
]


@pytest.mark.parametrize(("what", "changes", "kind"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_an_app_that_could_not_be_used_is_refused_and_not_kept(desk, world, what, changes, kind):
    app = msgspec.structs.replace(an_app(), **changes)
    with pytest.raises(kind) as caught:
        drive(add_app(desk, app), world)
    assert caught.value.fix
    assert world.store.names("", "", 10) == []
    assert world.notes == []


def meddle(desk, world, app):
    """Let somebody else add or change the app just before our swap."""
    once = iter([app])

    def change(question):
        if isinstance(question, Swap):
            for theirs in once:
                entry = world.store.load("app/acme")
                world.store.swap("app/acme", entry.version if entry else 0, desk.seal_app(theirs))

    world.before = change


@pytest.mark.parametrize("there", [False, True], ids=["added", "replaced"])
def test_an_app_that_somebody_else_changes_at_the_same_time_is_not_overwritten(desk, world, there):
    if there:
        put(desk, world, an_app())
    theirs = an_app(client_id="theirs")
    meddle(desk, world, theirs)
    with pytest.raises(AlreadyExists) as caught:
        drive(add_app(desk, an_app(client_id="ours"), replace=True), world)
    assert caught.value.fix
    assert kept(desk, world) == theirs
    assert world.notes == []


def test_a_removed_app_is_gone(desk, world):
    put(desk, world, an_app())
    drive(remove_app(desk, "acme"), world)
    assert world.store.load("app/acme") is None
    assert world.notes == [("app.removed", "ok", "")]


def test_an_app_that_is_not_there_is_not_removed(desk, world):
    with pytest.raises(NotFound):
        drive(remove_app(desk, "acme"), world)
    assert world.notes == []


def test_an_app_changed_while_it_was_removed_stays_and_nobody_is_told_otherwise(desk, world):
    put(desk, world, an_app())
    meddle(desk, world, an_app(client_id="theirs"))
    with pytest.raises(AlreadyExists):
        drive(remove_app(desk, "acme"), world)
    assert kept(desk, world).client_id == "theirs"
    assert world.notes == []


@pytest.mark.parametrize("name", ["acme", "Acme/alice", "acme/", "acme/a/b", "acme/alice\n", "../alice"])
def test_a_name_that_no_connection_can_have_is_refused_every_time(name):
    assert names.connection_record("acme/alice") == names.connection_record("acme/alice") == "connection/acme/alice"
    for _ in range(3):
        with pytest.raises(InvalidInput):
            names.connection_record(name)
