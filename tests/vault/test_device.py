"""The device flow as a conversation: how long it waits, when it asks more slowly, and how it ends."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.effects import Load, Send, Sleep
from valetkey.errors import (
    BadAnswer,
    ClientRefused,
    ConsentDenied,
    GrantRefused,
    InvalidInput,
    ProviderTimeout,
    ProviderUnavailable,
    StoreUnavailable,
)
from valetkey.providers.schema import Endpoints
from valetkey.values import Response, Secret
from valetkey.vault.connect import Wish
from valetkey.vault.device import begin_device, finish_device
from vaultkit import START, FakeWorld, a_connection, a_provider, an_app, drive, held, put, refusal, tokens_answer

T0 = START.timestamp()
CODES = {
    "device_code": "the-device-code-1234567890",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://acme.test/device",
    "expires_in": 600,
    "interval": 5,
}
PENDING, SLOWER = refusal("authorization_pending"), refusal("slow_down")


def asking_world(desk, *answers, app=None, **codes):
    """Return a world whose provider gives codes, then these answers; it remembers requests and waits."""
    waiting, requests, waits = iter(answers), [], []

    def provider(request):
        requests.append({name: values[0] for name, values in parse_qs(request.body.decode()).items()})
        if request.url.endswith("/device"):
            return Response(200, {"content-type": "application/json"}, msgspec.json.encode({**CODES, **codes}))
        answer = next(waiting)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world = FakeWorld(provider)
    world.requests, world.waits = requests, waits
    world.before = lambda question: waits.append(question.seconds) if isinstance(question, Sleep) else None
    put(desk, world, app or an_app())
    return world


def connected(desk, world, name="acme/tv", wish=None):
    started = drive(begin_device(desk, name, wish or Wish()), world)
    return drive(finish_device(desk, started), world)


def test_a_person_is_shown_what_to_type_where(desk):
    world = asking_world(desk)
    started = drive(begin_device(desk, "acme/tv", Wish(scopes=("read",))), world)
    assert (started.shown.user_code, started.shown.verification_uri) == ("WDJB-MJHT", "https://acme.test/device")
    assert started.expires_at == T0 + 600
    assert world.requests[0]["scope"] == "read"
    assert world.notes == [("connect.started", "ok", "")]


def test_what_a_connection_is_asked_with_goes_along(desk):
    world = asking_world(desk)
    wish = Wish(audience="https://api.test", extra={"hd": "acme.test"})
    drive(begin_device(desk, "acme/tv", wish), world)
    assert (world.requests[0]["audience"], world.requests[0]["hd"]) == ("https://api.test", "acme.test")


def test_tokens_are_kept_when_the_person_has_consented(desk):
    world = asking_world(desk, PENDING, PENDING, tokens_answer(1, scope="read"))
    made = connected(desk, world, wish=Wish(scopes=("read",), hosts=("own.acme.test",)))
    assert made == held(desk, world, "acme/tv")
    assert (made.grant, made.tokens.refresh, made.hosts) == ("device_code", Secret("refresh-1"), ("own.acme.test",))
    assert world.requests[1]["grant_type"] == "urn:ietf:params:oauth:grant-type:device_code"
    assert world.requests[1]["device_code"] == CODES["device_code"]
    assert world.notes == [("connect.started", "ok", ""), ("connection.created", "ok", "")]


WAITS = [
    # RFC 8628 section 3.5
    ("pending keeps the interval", [PENDING, PENDING], {}, [5, 5, 5]),
    ("five seconds where none is told", [PENDING], {"interval": None}, [5, 5]),
    ("the provider's own interval", [PENDING], {"interval": 2}, [2, 2]),
    ("slow_down adds five seconds, for good", [SLOWER, PENDING, SLOWER], {}, [5, 10, 10, 15]),
    ("a time-out doubles", [ProviderTimeout("slow"), PENDING, ProviderTimeout("slow")], {}, [5, 10, 10, 20]),
    ("weather doubles", [Response(503), ProviderUnavailable("refused", sent=False)], {}, [5, 10, 20]),
]


@pytest.mark.parametrize(("what", "answers", "codes", "waits"), WAITS, ids=[row[0] for row in WAITS])
def test_it_waits_before_every_question_as_long_as_it_must(desk, what, answers, codes, waits):
    world = asking_world(desk, *answers, tokens_answer(1), **codes)
    connected(desk, world)
    assert world.waits == waits


ENDS = [
    ("denied", refusal("access_denied"), ConsentDenied, "access_denied"),
    ("expired, says the provider", refusal("expired_token"), GrantRefused, "expired_token"),
    ("a wrong client", refusal("invalid_client", 401), ClientRefused, "invalid_client"),
    ("unknown code", refusal("invalid_grant"), GrantRefused, "invalid_grant"),
    ("HTML", Response(200, {"content-type": "text/html"}, b"<html>"), BadAnswer, "bad_answer"),
]


@pytest.mark.parametrize(("what", "answer", "kind", "code"), ENDS, ids=[row[0] for row in ENDS])
def test_a_refusal_ends_it_and_is_written_down(desk, what, answer, kind, code):
    world = asking_world(desk, PENDING, answer)
    with pytest.raises(kind) as caught:
        connected(desk, world)
    assert caught.value.code == code
    assert caught.value.fix
    assert world.store.load("connection/acme/tv") is None
    assert world.notes[-1] == ("connect.refused", "refused", code)


@pytest.mark.parametrize("answer", [PENDING, SLOWER, Response(503)], ids=["pending", "slow_down", "weather"])
def test_it_ends_when_the_code_has_expired_though_the_provider_never_says_so(desk, answer):
    world = asking_world(desk, *[answer] * 200, expires_in=60)
    with pytest.raises(GrantRefused) as caught:
        connected(desk, world)
    assert caught.value.code == "expired_token"
    assert world.now.timestamp() >= T0 + 60
    assert sum(world.waits[:-1]) < 60, "it asked as long as the code was good"
    assert world.notes[-1] == ("connect.refused", "refused", "expired_token")


def test_a_token_that_comes_with_the_last_question_is_taken(desk):
    world = asking_world(desk, *[PENDING] * 11, tokens_answer(1), expires_in=60)
    assert connected(desk, world).tokens.access == Secret("access-1")
    assert world.now.timestamp() == T0 + 60


@pytest.mark.parametrize(
    ("answers", "codes", "waits"),
    [
        ([Response(503)] * 3, {"expires_in": 60}, [5, 10, 20, 25]),
        ([ProviderTimeout("slow")] * 4, {"expires_in": 100}, [5, 10, 20, 40, 25]),
        ([SLOWER] * 3, {"expires_in": 40}, [5, 10, 15, 10]),
        ([], {"expires_in": 60, "interval": 300}, [60]),
    ],
)
def test_no_wait_leads_past_the_end_of_the_code(desk, answers, codes, waits):
    world = asking_world(desk, *answers, tokens_answer(1), **codes)
    assert connected(desk, world).tokens.access == Secret("access-1")
    assert world.waits == waits
    assert world.now.timestamp() == T0 + codes["expires_in"]


def test_reconnecting_keeps_the_history(desk):
    world = asking_world(desk, tokens_answer(9))
    put(desk, world, a_connection(generation=4))
    made = connected(desk, world, "acme/alice")
    assert (made.generation, made.created_at, made.grant) == (5, T0, "device_code")
    assert world.notes[-1] == ("connection.reconnected", "ok", "")


def test_a_store_that_is_down_is_found_before_the_person_types(desk):
    world = asking_world(desk)
    started = drive(begin_device(desk, "acme/tv", Wish()), world)
    sent = world.asked.count("Send")

    def down(question):
        if isinstance(question, Load):
            raise StoreUnavailable("the disk is full")

    world.before = down
    with pytest.raises(StoreUnavailable):
        drive(finish_device(desk, started), world)
    assert world.asked.count("Send") == sent


def test_a_provider_without_a_device_flow_is_named_with_another_way(desk):
    bare = msgspec.structs.replace(a_provider(), endpoints=Endpoints(token="https://acme.test/token"))
    world = asking_world(desk, app=an_app(bare))
    with pytest.raises(InvalidInput, match="Acme has no device flow") as caught:
        drive(begin_device(desk, "acme/tv", Wish()), world)
    assert "valetkey connect acme/tv" in caught.value.fix
    assert "Send" not in world.asked


def test_an_app_for_machines_says_that_it_is_one(desk):
    machine = msgspec.structs.replace(
        a_provider(), endpoints=Endpoints(token="https://acme.test/token"), grants=["client_credentials"]
    )
    with pytest.raises(InvalidInput, match="app acme is for machines") as caught:
        drive(begin_device(desk, "acme/tv", Wish()), asking_world(desk, app=an_app(machine)))
    assert caught.value.fix == "`valetkey connect acme/tv`, without --device"


def test_a_code_is_shown_by_nothing_on_the_way(desk, caplog):
    world = asking_world(desk, PENDING, tokens_answer(1))
    shown = []
    world.before = lambda question: shown.append(repr(question))
    started = drive(begin_device(desk, "acme/tv", Wish()), world)
    made = drive(finish_device(desk, started), world)
    text = "".join([*shown, repr(started), repr(made), repr(world.notes), caplog.text])
    assert any("Send" in line for line in shown)
    for secret in (CODES["device_code"], CODES["user_code"], "access-1", "refresh-1"):
        assert secret not in text
    assert Send.__name__ in world.asked
