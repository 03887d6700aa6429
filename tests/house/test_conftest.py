"""That the nets of tests/conftest.py hold: no network, no real home, canaries that are found."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from pathlib import Path

import pytest


def test_a_test_without_a_mark_gets_no_socket():
    with pytest.raises((RuntimeError, UserWarning), match=r"socket\.socket"):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def test_a_test_without_a_mark_looks_up_no_name():
    with pytest.raises((RuntimeError, UserWarning), match="getaddrinfo"):
        socket.getaddrinfo("localhost", 80)


@pytest.mark.network
def test_a_test_marked_network_reaches_loopback_and_nothing_else():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    outside = socket.socket()
    with outside, pytest.raises((RuntimeError, UserWarning), match=r"192\.0\.2\.1"):
        outside.connect(("192.0.2.1", 443))


@pytest.mark.network
def test_a_test_marked_network_looks_up_no_name_but_loopback():
    assert socket.getaddrinfo("127.0.0.1", 80)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("provider.example", 443)


async def test_an_event_loop_runs_without_the_network():
    assert await asyncio.to_thread(lambda: 42) == 42


def test_home_is_empty_and_only_for_this_test(home):
    assert Path.home() == home
    assert not [path for path in home.rglob("*") if path.is_file()]
    assert os.environ["XDG_DATA_HOME"].startswith(str(home))
    (home / "left-over").touch()  # which the next test must not see, whatever the order


def test_home_is_empty_again(home):
    test_home_is_empty_and_only_for_this_test(home)


@pytest.mark.parametrize(
    "hidden",
    [
        lambda value: value,
        lambda value: f"Authorization: Bearer {value}",
        lambda value: value.encode().hex(),
        lambda value: base64.b64encode(f"client:{value}".encode()).decode(),
        lambda value: base64.b64encode(f"a-client:{value}:x".encode()).decode(),
        lambda value: base64.urlsafe_b64encode(f"my-client:{value}..".encode()).decode(),
    ],
)
def test_a_canary_is_found_in_texts_bytes_files_and_directories(canary, tmp_path, hidden):
    text = f"before {hidden(canary.make('client secret'))} after"
    file = tmp_path / "deep" / "file"
    file.parent.mkdir()
    file.write_text(text)
    assert [canary.found_in(place) for place in (text, text.encode(), file, tmp_path)] == [["client secret"]] * 4
    with pytest.raises(AssertionError, match="client secret"):
        canary.assert_absent("nothing here", file)


def test_a_canary_that_is_percent_encoded_is_found(canary):
    canary.watch("token", "a+long/token=with odd&bits")
    assert canary.found_in("token=a%2Blong%2Ftoken%3Dwith%20odd%26bits") == ["token"]


def test_a_canary_is_not_found_where_it_is_not(canary):
    canary.make()
    canary.assert_absent("canary-", b"\xff\x00", "")


def test_absence_of_nothing_proves_nothing(canary):
    with pytest.raises(AssertionError, match="prove nothing"):
        canary.assert_absent("text")
