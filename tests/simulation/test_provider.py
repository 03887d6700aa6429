"""The provider models against rows worked out by hand: the simulation is worth as much as they are."""

from __future__ import annotations

import msgspec
import pytest

from simulation.manners import MANNERS
from simulation.provider import ModelProvider
from valetkey.values import Request


def ask(provider, now, url="/token", **form):
    body = "&".join(f"{name}={value}" for name, value in form.items()).encode()
    response = provider.answer(Request("POST", f"https://x.test{url}", body=body), now)
    members = msgspec.json.decode(response.body) if response.body else {}
    return members.get("refresh_token") or members.get("error") or members.get("access_token", "")


def refresh(provider, token, now):
    return ask(provider, now, grant_type="refresh_token", refresh_token=token)


def connected(manner):
    provider = ModelProvider(MANNERS[manner])
    code = provider.consent("x/c", 0.0)
    assert ask(provider, 0.0, grant_type="authorization_code", code=code) == "RT1.g1"
    return provider


# Spend the first, spend the second, spend the first again (at that time), spend the newest that was given.
ROWS = {
    "strict_family": (20.0, "RT2.g1", "RT3.g1", "invalid_grant", "invalid_grant"),
    "strict_refused": (20.0, "RT2.g1", "RT3.g1", "invalid_grant", "RT4.g1"),
    "grace in time": (20.0, "RT2.g1", "RT3.g1", "RT4.g1", "RT5.g1"),
    "grace too late": (611.0, "RT2.g1", "RT3.g1", "invalid_grant", "invalid_grant"),
    "until_new": (20.0, "RT2.g1", "RT3.g1", "invalid_grant", "RT4.g1"),
    "stays": (20.0, "RT2.g1", "RT3.g1", "RT4.g1", "RT5.g1"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_manner_treats_refresh_tokens_as_its_row_says(row):
    again_at, first, second, again, newest = ROWS[row]
    provider = connected(row.split()[0])
    assert refresh(provider, "RT1.g1", 10.0) == first
    assert refresh(provider, first, 11.0) == second
    assert refresh(provider, "RT1.g1", again_at) == again
    assert refresh(provider, again if again.startswith("RT") else second, again_at + 1) == newest


def test_until_the_new_one_is_used_the_old_one_works():
    provider = connected("until_new")
    assert refresh(provider, "RT1.g1", 10.0) == "RT2.g1"
    assert refresh(provider, "RT1.g1", 11.0) == "RT3.g1"


def test_a_refresh_token_that_never_rotates_is_not_sent_again():
    provider = connected("never")
    assert refresh(provider, "RT1.g1", 10.0) == "AT2.g1"
    assert refresh(provider, "RT1.g1", 99999.0) == "AT3.g1"


def test_a_fixed_end_is_the_end():
    provider = connected("fixed_end")
    assert refresh(provider, "RT1.g1", 6 * 3600 - 1) == "AT2.g1"
    assert refresh(provider, "RT1.g1", 6 * 3600) == "invalid_grant"


@pytest.mark.parametrize("manner", MANNERS)
def test_whether_a_token_is_usable_is_what_spending_it_would_show(manner):
    provider = connected(manner)
    refresh(provider, "RT1.g1", 10.0)
    for name in list(provider.refreshes):
        usable = provider.usable(name, 20.0)
        assert (refresh(provider, name, 20.0) != "invalid_grant") is usable
        if manner in {"strict_family", "silent", "short"}:
            break  # asking has ended the grant


def test_a_code_is_good_once_and_a_revoked_grant_is_dead():
    provider = connected("stays")
    assert ask(provider, 1.0, grant_type="authorization_code", code="code.g1") == "invalid_grant"
    ask(provider, 2.0, url="/revoke", token="RT1.g1")
    assert refresh(provider, "RT1.g1", 3.0) == "invalid_grant"
    assert provider.grants[0].death == "disconnect"


def test_a_client_whose_secret_is_not_taken_is_refused_and_spends_nothing():
    provider = connected("strict_family")
    provider.secrets = {"new"}
    old, new = ({"grant_type": "refresh_token", "refresh_token": "RT1.g1", "client_secret": s} for s in ("old", "new"))
    assert ask(provider, 10.0, **old) == "invalid_client"
    assert refresh(provider, "RT1.g1", 10.0) == "invalid_client"
    assert ask(provider, 10.0, **new) == "RT2.g1"
