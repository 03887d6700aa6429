"""Connecting a name that is there: it is asked for as it was, but for what is named anew."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from valetkey.values import Response, Secret
from valetkey.vault import names
from valetkey.vault.connect import Wish, begin, connect_machine, finish
from valetkey.vault.device import begin_device, finish_device
from valetkey.vault.records import Asked
from vaultkit import FakeWorld, a_connection, an_app, drive, held, put, tokens_answer

MINE = Secret("a secret that stays in this terminal")
WISH = Wish(scopes=("read",), audience="https://api.test", resource=("https://r.test",), extra={"hd": "acme.test"})
CODES = {"device_code": "d-1", "user_code": "WDJB", "verification_uri": "https://acme.test/device", "expires_in": 600}


class Provider:
    """Answer every request with tokens or codes, and keep what was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []

    def __call__(self, request):
        self.asked.append(parse_qs(request.body.decode()))
        if request.url.endswith("/device"):
            return Response(200, {"content-type": "application/json"}, msgspec.json.encode(CODES))
        return tokens_answer(len(self.asked))


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def world(desk, provider):
    made = FakeWorld(provider)
    put(desk, made, an_app(scopes=("profile",)))
    return made


def by_machine(desk, world, wish):
    drive(connect_machine(desk, "acme/alice", wish, "client_credentials"), world)
    return world.provider.asked[-1]


def by_browser(desk, world, wish):
    started = drive(begin(desk, "acme/alice", wish, redirect_uri="http://127.0.0.1:7/cb", binding=MINE), world)
    told = parse_qs(urlsplit(started.url).query)
    drive(finish(desk, f"?code=c&state={told['state'][0]}&iss=https%3A%2F%2Facme.test", binding=MINE), world)
    return told


def by_device(desk, world, wish):
    started = drive(begin_device(desk, "acme/alice", wish), world)
    told = world.provider.asked[-1]
    drive(finish_device(desk, started), world)
    return told


WAYS = [by_machine, by_browser, by_device]


@pytest.mark.parametrize("way", WAYS)
def test_what_was_wished_for_once_is_asked_for_again(desk, world, way):
    first, again, third = [way(desk, world, wish) for wish in (WISH, Wish(), Wish())]
    for told in (first, again, third):
        assert (told["scope"], told["audience"], told["hd"]) == (["read"], ["https://api.test"], ["acme.test"])
    assert held(desk, world).asked.resource == ("https://r.test",)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_named_anew_takes_the_place_of_what_was(desk, world, way):
    way(desk, world, WISH)
    told = way(desk, world, Wish(audience="https://other.test", extra={"prompt": "login"}))
    assert (told["scope"], told["audience"]) == (["read"], ["https://other.test"])
    assert (told["hd"], told["prompt"]) == (["acme.test"], ["login"])
    assert way(desk, world, Wish(scopes=("write",)))["scope"] == ["write"]
    assert way(desk, world, Wish())["scope"] == ["write"]


@pytest.mark.parametrize("way", WAYS)
def test_scopes_that_nobody_named_follow_the_app(desk, world, way):
    assert way(desk, world, Wish(audience="https://api.test"))["scope"] == ["profile"]
    record = names.app_record("acme")
    entry = world.store.load(record)
    changed = msgspec.structs.replace(desk.app("acme", entry), scopes=("profile", "mail"))
    assert world.store.swap(record, entry.version, desk.seal_app(changed))
    told = way(desk, world, Wish())
    assert (told["scope"], told["audience"]) == (["profile mail"], ["https://api.test"])


def test_a_connection_that_was_ended_leaves_nothing_to_the_next_of_its_name(desk, world):
    put(
        desk,
        world,
        a_connection(asked=Asked(scopes=("read",), audience="https://api.test", named=True), revoked_at=1.0),
    )
    told = by_machine(desk, world, Wish())
    assert "audience" not in told
    assert told["scope"] == ["profile"]


def test_whom_an_assertion_speaks_for_is_kept(desk, world):
    wish = Wish(subject="service@acme.test")
    asked = wish.asked(an_app(), (), Asked())
    assert Wish().asked(an_app(), (), asked).subject == "service@acme.test"
    assert Wish(subject="other").asked(an_app(), (), asked).subject == "other"
