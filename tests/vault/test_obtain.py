"""Obtaining a token where others are at work, and what is asked for with keys: the rest of the conversation."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.effects import Send, Sleep
from valetkey.errors import InvalidInput, KeyRefused, NotFound, Revoked
from valetkey.jose import Key
from valetkey.values import Secret
from valetkey.vault.connect import Wish, connect_machine
from valetkey.vault.judge import LOOK_AGAIN, Demand, Serve, glance
from valetkey.vault.records import Lease
from valetkey.vault.renew import obtain
from valetkey.vault.stores.memory import MemoryStore
from valetkey.vault.world import VaultWorld
from vaultkit import START, FakeWorld, a_connection, a_recorder, an_app, drive, held, put, tokens_answer

T0 = START.timestamp()
RECORD = "connection/acme/alice"
ANY = Demand()


def expired(desk, **facts):
    world = FakeWorld(lambda _: tokens_answer(2))
    put(desk, world, an_app(), a_connection(expires_in=60.0, **facts))
    world.advance(61)
    return world


def replaced(desk, world, connection):
    entry = world.store.load(RECORD)
    assert world.store.swap(RECORD, entry.version, desk.seal_connection(connection, world.now.timestamp()))


def test_while_another_process_renews_it_is_waited_for_and_its_token_is_taken(desk):
    world = expired(desk, lease=Lease("another", T0 + 100))
    waits = []

    def another(question):
        if isinstance(question, Sleep):
            waits.append(question.seconds)
            if len(waits) == 3:
                replaced(desk, world, a_connection(generation=2, refresh="refresh-2"))

    world.before = another
    served = drive(obtain(desk, "acme/alice", ANY), world)
    assert served.token.reveal() == "access-1"
    assert waits == [LOOK_AGAIN] * 3
    assert "Send" not in world.asked


def test_a_lease_whose_owner_died_is_waited_for_no_longer_than_it_lasts(desk):
    world = expired(desk, lease=Lease("dead", T0 + 62))
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert T0 + 62 <= world.now.timestamp() <= T0 + 62 + LOOK_AGAIN
    assert world.asked.count("Send") == 1


def test_a_token_renewed_for_a_connection_that_was_disconnected_meanwhile_is_not_given(desk):
    world = expired(desk)

    def disconnect(question):
        if isinstance(question, Send):
            replaced(desk, world, a_connection(expires_in=60.0, revoked_at=world.now.timestamp()))

    world.before = disconnect
    with pytest.raises(Revoked, match="meanwhile"):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert held(desk, world).revoked_at


def test_looking_without_renewing_gives_a_fresh_token_or_nothing_and_changes_nothing(desk):
    world = FakeWorld(lambda _: tokens_answer(2))
    put(desk, world, an_app(), a_connection())
    entry, moment = world.store.load(RECORD), START.timestamp()
    assert isinstance(glance(desk, "acme/alice", entry, moment, ANY), Serve)
    assert glance(desk, "acme/alice", entry, moment + 3601, ANY) is None
    assert world.store.load(RECORD) == entry
    with pytest.raises(NotFound):
        glance(desk, "acme/nobody", None, moment, ANY)


KEY = Key.generate("ES256")


@pytest.mark.parametrize(
    "text",
    [KEY.to_pem(private=True).decode(), msgspec.json.encode(KEY.to_jwk(private=True)).decode()],
    ids=["PEM", "JWK"],
)
def test_an_assertion_is_signed_with_the_apps_key_in_either_form(desk, text):
    requests = []

    def provider(request):
        requests.append(parse_qs(request.body.decode()))
        return tokens_answer(1, refresh=False)

    world = FakeWorld(provider)
    put(desk, world, an_app(private_key=Secret(text), key_alg="ES256", key_id="k1"))
    made = drive(connect_machine(desk, "acme/ci", Wish(subject="erin"), "jwt_bearer"), world)
    assert made.tokens.access == Secret("access-1")
    header, claims, _ = requests[0]["assertion"][0].split(".")
    assert msgspec.json.decode(unbase64(header))["kid"] == "k1"
    told = msgspec.json.decode(unbase64(claims))
    assert (told["iss"], told["sub"], told["aud"]) == ("client-1", "erin", "https://acme.test/token")
    assert (told["iat"], told["exp"]) == (T0, T0 + 180)


def unbase64(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize(
    "text", ["{not json", "[1]", "{}", "", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_a_key_that_is_none_is_refused_without_showing_it(desk, text):
    world = FakeWorld(lambda _: tokens_answer(1))
    put(desk, world, an_app(private_key=Secret(text), key_alg="ES256"))
    with pytest.raises((KeyRefused, InvalidInput)) as caught:
        drive(connect_machine(desk, "acme/ci", Wish(subject="erin"), "jwt_bearer"), world)
    assert "AAAA" not in caught.value.explain()
    assert "Send" not in world.asked


def test_an_assertion_needs_somebody_to_speak_for(desk):
    world = FakeWorld(lambda _: tokens_answer(1))
    pem = Secret(KEY.to_pem(private=True).decode())
    put(desk, world, an_app(client_id="", private_key=pem, key_alg="ES256"))
    with pytest.raises(InvalidInput):
        drive(connect_machine(desk, "acme/ci", Wish(), "jwt_bearer"), world)
    assert "Send" not in world.asked


def test_a_world_without_a_folder_for_spilled_tokens_has_none(desk):
    store = MemoryStore()
    world = VaultWorld(store=store, transport=lambda: None, audit=a_recorder(store))
    assert list(world.spilled()) == []
    world.unspill(RECORD)
