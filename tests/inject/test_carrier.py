"""What a carrier remembers: which warnings were said, and for which APIs another refresh would be in vain."""

from __future__ import annotations

import asyncio
import logging

import pytest

from valetkey.inject.carrier import IN_VAIN_MOST, IN_VAIN_SECONDS, SAID_MOST, Carrier, _say_unbound
from valetkey.inject.rule import Target
from valetkey.values import Secret, Token
from valetkey.vault.views import Credential

HERE = Target("https", "api.example.com", None)
THERE = Target("https", "api2.example.com", None)


def token(text: str) -> Token:
    return Token(Secret(text))


def credential(text: str = "first-token", *hosts: str) -> Credential:
    return Credential(token(text), hosts or ("api.example.com", "api2.example.com"))


class Renewing:
    """Give the next of a list of tokens, and count how often it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.rejected: list[str] = []

    def credential(self, name):
        raise AssertionError(name)

    def renewed(self, name, rejected):
        self.rejected.append(rejected.reveal())
        return token(self.texts.pop(0))


class RenewingAside(Renewing):
    async def renewed(self, name, rejected):
        return Renewing.renewed(self, name, rejected)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def carrier(clock) -> Carrier:
    return Carrier("google/alice", clock=clock)


def test_another_token_is_asked_for_with_the_refused_one(carrier):
    source = Renewing("second-token")
    other = carrier.another(source, credential(), HERE)
    assert (other.token.reveal(), other.hosts, source.rejected) == (
        "second-token",
        credential().hosts,
        ["first-token"],
    )


def test_the_token_that_was_refused_is_not_another_one(carrier):
    assert carrier.another(Renewing("first-token"), credential(), HERE) is None


def test_an_api_that_refused_a_new_token_too_causes_no_refresh_for_a_while(carrier, clock, caplog):
    carrier.replayed(credential("second-token"), HERE, 401)
    assert "another refresh would not help" in caplog.text
    assert "second-token" not in caplog.text
    source = Renewing("third-token", "fourth-token")
    clock.seconds += IN_VAIN_SECONDS - 0.001
    assert carrier.another(source, credential("second-token"), HERE) is None
    assert source.rejected == []
    clock.seconds += 0.001
    assert carrier.another(source, credential("second-token"), HERE) is not None


def test_the_same_holds_for_coroutines(carrier, clock):
    carrier.replayed(credential("second-token"), HERE, 401)
    source = RenewingAside("third-token")
    assert asyncio.run(carrier.another_async(source, credential("second-token"), HERE)) is None
    clock.seconds += IN_VAIN_SECONDS
    assert asyncio.run(carrier.another_async(source, credential("second-token"), HERE)) is not None


def test_a_pause_is_for_one_api_and_one_token_only(carrier):
    carrier.replayed(credential("second-token"), HERE, 401)
    assert carrier.another(Renewing("third-token"), credential("second-token"), THERE) is not None
    assert carrier.another(Renewing("third-token"), credential("renewed-elsewhere"), HERE) is not None


def test_an_answer_that_is_no_401_ends_the_pause(carrier):
    carrier.replayed(credential("second-token"), HERE, 401)
    carrier.replayed(credential("second-token"), HERE, 200)
    assert carrier.another(Renewing("third-token"), credential("second-token"), HERE) is not None


def test_what_is_remembered_of_pauses_is_bounded(carrier):
    for port in range(1, IN_VAIN_MOST + 50):
        carrier.replayed(credential("second-token"), Target("https", "api.example.com", port), 401)
    assert len(carrier._in_vain) <= IN_VAIN_MOST


def test_what_is_remembered_of_warnings_is_bounded():
    assert _say_unbound.cache_info().maxsize == SAID_MOST


def test_each_connection_and_host_is_warned_about_once(caplog):
    for _ in range(2):
        for name in ("google/alice", "google/bob"):
            for host in ("a.evil.example", "b.evil.example"):
                assert Carrier(name).put(credential(), Target("https", host, None), {}) is None
    assert len(caplog.records) == 4
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_plain_http_to_a_bound_host_is_told_from_a_host_that_is_not_bound(carrier, caplog):
    assert carrier.put(credential(), Target("http", "api.example.com", None), {}) is None
    assert "plain http" in caplog.text
    assert "--host" not in caplog.text


def test_a_long_list_of_hosts_is_shortened_in_the_warning(carrier, caplog):
    many = [f"host{n}.example.com" for n in range(50)]
    carrier.put(credential("first-token", *many), Target("https", "evil.example", None), {})
    assert "host4.example.com, …" in caplog.text
    assert "host5.example.com" not in caplog.text
    assert "--host evil.example`, with the hosts named before" in caplog.text


def test_a_host_that_would_break_the_log_is_shown_escaped(carrier, caplog):
    carrier.put(credential(), Target("https", "evil\r\nINFO all is well", None), {})
    assert r"evil\r\nINFO" in caplog.text
