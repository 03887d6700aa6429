"""Error reporters write down the variables of every frame; none of ours shows a token."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import aiohttp
import pytest

from frames import seen_by_reporters
from valetkey.errors import InvalidInput

pytestmark = pytest.mark.network

TOKEN = "fake-token"


@pytest.fixture
def silent(source) -> Iterator[str]:
    """Give the URL of a bound API that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        source.hosts = (f"{host}:{port}",)
        yield f"http://{host}:{port}/me"


def in_time(request: pytest.FixtureRequest) -> object:
    return aiohttp.ClientTimeout(total=0.2) if "aiohttp" in request.node.name else 0.2


def test_an_api_that_does_not_answer(either, source, silent, request):
    with pytest.raises(Exception) as raised:
        either(source, "GET", silent, timeout=in_time(request))
    assert TOKEN not in seen_by_reporters(raised.value, "inject")


def test_an_api_that_refuses_while_no_other_token_can_be_had(either, api, source):
    def broken() -> None:
        raise ZeroDivisionError("an error of somebody else")

    api.accepted, source.on_renewal = set(), broken
    with pytest.raises(ZeroDivisionError) as raised:
        either(source, "GET", api.url("/me"))
    seen = seen_by_reporters(raised.value, "inject")
    assert "credential = Credential(" in seen
    assert TOKEN not in seen


def test_a_header_that_cannot_be_written(either, api, source):
    source.headers = {"X-Provider-Version": "two\nlines"}
    with pytest.raises(InvalidInput) as raised:
        either(source, "GET", api.url("/me"))
    seen = seen_by_reporters(raised.value, "inject")
    assert "lines = <HeaderLines X-Provider-Version, Authorization>" in seen
    assert TOKEN not in seen
