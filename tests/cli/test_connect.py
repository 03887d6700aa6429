"""`valetkey connect`: what is told where it cannot work, and what to do then."""

from __future__ import annotations

import re

import pytest

from clikit import WEB_SECRET

pytestmark = pytest.mark.network

NOBODY = "http://127.0.0.1:1"
"""Port 1 (tcpmux) of this machine, where nobody listens."""


@pytest.fixture
def down(inside):
    """Keep the app `down`, whose provider is not there."""
    urls = ("--token-url", f"{NOBODY}/token", "--authorize-url", f"{NOBODY}/authorize")
    done = inside("app", "add", "down", *urls, "--client-id", "me", "--secret-stdin", stdin=WEB_SECRET)
    assert done.code == 0, done.err


@pytest.mark.parametrize("other", [("--device",), ("--grant", "device_code")])
def test_a_code_to_type_and_an_address_to_paste_are_two_ways(inside, down, other):
    refused = inside("connect", "down/alice", "--no-browser", *other, "--json")
    assert (refused.code, refused.error["code"]) == (2, "invalid_input")
    assert "are two ways" in refused.error["message"]
    assert "leave one of them out" in refused.error["fix"]


def test_who_sees_no_page_is_told_where_the_address_stands(inside, down):
    done = inside("connect", "down/alice", "--no-browser", "--json")
    assert (
        "if no page comes at all: the provider is down, or its address is mistyped; `valetkey app show down`"
        in done.err
    )
    assert (done.code, done.error["code"]) == (2, "invalid_input")
    assert done.error["fix"] == "run it where somebody can paste it"  # it has no device flow
    assert done.error["cause"]


def test_where_nothing_was_pasted_a_device_flow_is_named_if_there_is_one(inside, box):
    done = inside("connect", "box/alice", "--no-browser", "--json")
    assert "`valetkey connect box/alice --device` needs none" in done.error["fix"]


def test_a_login_whose_code_reached_nobody_is_to_be_begun_anew(inside, down):
    def pasted(shown):
        return f"http://127.0.0.1/callback?code=abc&state={re.search('state=([^&]+)', shown)[1]}\n"

    done = inside("connect", "down/alice", "--no-browser", "--json", stdin=pasted)
    assert (done.code, done.error["code"]) == (6, "provider_unavailable")
    assert done.error["fix"].startswith(
        "this login is used up: `valetkey connect down/alice` begins another; check the "
    )


def test_a_token_endpoint_that_is_not_there_may_be_mistyped(inside, down, sandbox):
    refused = inside("connect", "down/one", "--grant", "client_credentials", "--json")
    assert (refused.code, refused.error["code"]) == (6, "provider_unavailable")
    assert "check the address of the provider's token endpoint: `valetkey app show down`" in refused.error["fix"]
    command = "valetkey app add down --replace --token-url URL"
    assert f"`{command}` changes it" in refused.error["fix"]
    assert inside(*command.replace("URL", f"{sandbox.url}/token").split()[1:]).code == 0
    assert inside("connect", "down/one", "--grant", "client_credentials", "--json").error["code"] == "invalid_client"


@pytest.mark.parametrize("page", [False, True], ids=["JSON", "a page"])
def test_a_token_endpoint_that_knows_no_such_place_may_be_mistyped(inside, sandbox, page):
    where = "--token-url", f"{sandbox.url}/{'token' if page else 'tokne'}"
    assert inside("app", "add", "typo", *where, "--client-id", "me", "--secret-stdin", stdin=WEB_SECRET).code == 0
    if page:
        sandbox.html_next(status=404)
    refused = inside("connect", "typo/one", "--grant", "client_credentials", "--json")
    assert refused.code == 5
    assert "not the provider's token endpoint" in refused.error["cause"]
    assert refused.error["fix"] == (
        "check the address of the provider's token endpoint: `valetkey app show typo` shows it, `valetkey app add typo "
        "--replace --token-url URL` changes it"
    )


def test_a_refused_client_is_corrected_by_commands_that_name_its_app(inside, sandbox):
    where = "--token-url", f"{sandbox.url}/token"
    assert inside("app", "add", "acme", *where, "--client-id", "me", "--secret-stdin", stdin=WEB_SECRET).code == 0
    refused = inside("connect", "acme/one", "--grant", "client_credentials", "--json").error
    assert refused["code"] == "invalid_client"
    for command in ("`valetkey app secret stage acme`", "`valetkey app add acme --replace --client-id ID`"):
        assert command in refused["fix"]


def test_an_issuer_that_is_not_there_may_be_mistyped(inside):
    refused = inside("app", "add", "acme", "--issuer", NOBODY, "--client-id", "me", "--public", "--json")
    assert (refused.code, refused.error["code"]) == (6, "provider_unavailable")
    assert refused.error["fix"].startswith("check the address that --issuer names; ")


def test_an_endpoint_that_an_app_lacks_is_given_by_its_option(inside, robot):
    assert inside("app", "add", "m2m", "--token-url", f"{NOBODY}/token", "--client-id", "me", "--public").code == 0
    refused = inside("connect", "m2m/one", "--grant", "authorization_code", "--no-browser", "--json")
    assert (refused.code, "`valetkey app add APP --replace --authorize-url URL`" in refused.error["fix"]) == (2, True)
