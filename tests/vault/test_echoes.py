"""A provider that repeats what it was sent: no error, note or record does."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.errors import ProviderError
from valetkey.values import Response, Secret
from valetkey.vault.connect import Wish, begin, connect_machine, finish
from valetkey.vault.device import begin_device, finish_device
from valetkey.vault.judge import Demand
from valetkey.vault.renew import obtain
from vaultkit import FakeWorld, a_connection, an_app, drive, put

SECRET = {"refresh_token", "client_secret", "device_code", "code", "code_verifier", "token"}
DEVICE = {"device_code": "the.device.code", "user_code": "WDJB", "verification_uri": "https://acme.test/device"}


@pytest.fixture
def world(desk):
    """Return a world whose provider says no in the very words it was asked with; `good` are answers before that."""
    told, good = set(), []

    def provider(request):
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        told.update(form[name] for name in form if name in SECRET)
        if good:
            return good.pop(0)
        said = " and ".join(form.values())
        body = {"error": "invalid_grant", "error_description": f"what is {said}?"[:290]}
        return Response(400, {"content-type": "application/json"}, msgspec.json.encode(body))

    made = FakeWorld(provider)
    made.told, made.good = told, good
    put(desk, made, an_app(), a_connection(expires_in=60.0))
    return made


def refresh(desk, world):
    world.advance(61)
    drive(obtain(desk, "acme/alice", Demand()), world)


def code(desk, world):
    binding = Secret("binding")
    started = drive(begin(desk, "acme/bob", Wish(), redirect_uri="http://127.0.0.1:1/", binding=binding), world)
    state = parse_qs(started.url.partition("?")[2])["state"][0]
    drive(finish(desk, f"code=the.code&state={state}", binding=binding), world)


def machine(desk, world):
    drive(connect_machine(desk, "acme/ci", Wish(), "client_credentials"), world)


def device(desk, world):
    drive(begin_device(desk, "acme/tv", Wish()), world)


def device_poll(desk, world):
    world.good.append(Response(200, {"content-type": "application/json"}, msgspec.json.encode(DEVICE)))
    drive(finish_device(desk, drive(begin_device(desk, "acme/tv", Wish()), world)), world)


WAYS = [(refresh, 2), (code, 3), (machine, 1), (device, 1), (device_poll, 2)]


@pytest.mark.parametrize(("way", "secrets"), WAYS, ids=[way.__name__ for way, _count in WAYS])
def test_what_was_sent_is_not_repeated(desk, world, way, secrets):
    with pytest.raises(Exception) as raised:
        way(desk, world)
    first = raised.value.__context__ if not isinstance(raised.value, ProviderError) else raised.value
    assert isinstance(first, ProviderError), "the provider has refused"
    assert first.description.startswith("what is ")
    assert len(world.told) == secrets, "these were sent"
    shown = repr([(error.explain(), error.to_dict()) for error in (raised.value, first)]) + repr(world.notes)
    assert [text for text in world.told if text in shown] == []
