"""What an app may change for itself, and that every change is judged like a file."""

from __future__ import annotations

import pytest

from valetkey.errors import InvalidInput
from valetkey.providers import filled, load, overridden
from valetkey.providers.facts import source_of


def test_generic_becomes_a_server_by_its_urls():
    provider = overridden(
        load("generic"),
        {
            "endpoints.authorize": "https://id.example/authorize",
            "endpoints.token": "https://id.example/token",
            "asking.token_auth": "client_secret_post",
            "asking.scope_separator": ",",
            "api.hosts": ["api.example", "*.example.net"],
            "offline_scopes": ["offline_access"],
            "asking.authorize_params": {"audience": "a"},
        },
    )
    assert provider.endpoints.token == "https://id.example/token"
    assert provider.asking.token_auth == "client_secret_post"
    assert provider.asking.scope_separator == ","
    assert provider.api.hosts == ["api.example", "*.example.net"]
    assert provider.offline_scopes == ["offline_access"]
    assert provider.asking.authorize_params == {"audience": "a"}
    assert filled(provider, {}) == provider


def test_texts_are_read_as_what_the_member_is():
    provider = overridden(
        load("generic"),
        {
            "refresh.margin_seconds": "90",
            "refresh.available": "false",
            "api.hosts": "a.example, b.example",
            "scopes": "x y",
        },
    )
    assert provider.refresh.margin_seconds == 90
    assert provider.refresh.available is False
    assert provider.api.hosts == ["a.example", "b.example"]
    assert provider.scopes == ["x", "y"]


def test_one_word_of_a_dictionary_can_be_changed_or_taken_out():
    google = load("google")
    assert overridden(google, {"asking.authorize_params.prompt": "select_account"}).asking.authorize_params == {
        "access_type": "offline",
        "prompt": "select_account",
    }
    assert overridden(google, {"asking.authorize_params.prompt": None}).asking.authorize_params == {
        "access_type": "offline"
    }


def test_none_takes_a_member_back_to_its_default():
    assert overridden(load("slack"), {"asking.pkce": None}).asking.pkce == "S256"


def test_the_order_of_filling_and_changing_does_not_matter():
    changes = {"refresh.margin_seconds": 5, "api.hosts": ["outlook.office.com", "graph.microsoft.com"]}
    params = {"tenant": "contoso.com"}
    assert filled(overridden(load("microsoft"), changes), params) == overridden(
        filled(load("microsoft"), params), changes
    )


def test_the_catalogue_is_not_touched():
    overridden(load("google"), {"asking.authorize_params.prompt": "x", "api.hosts": ["a.example"], "api.whoami": ""})
    assert load("google").asking.authorize_params["prompt"] == "consent"
    assert load("google").api.hosts == ["*.googleapis.com"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("endpoints.token", "http://id.example/token"),
        ("endpoints.token", "https://{tenant}.example/token"),
        ("endpoints.token", 5),
        ("endpoints.tokens", "https://id.example/token"),
        ("asking.token_auth", "tls_client_auth"),
        ("asking.pkce", "plain"),
        ("api.hosts", ["*.com"]),
        ("api.hosts", "*"),
        ("refresh.margin_seconds", "soon"),
        ("refresh.margin_seconds", -1),
        ("grants", ["password"]),
        ("grants", "implicit"),
        ("asking.body.x", "y"),
        ("key", "other"),
        ("parameters", {}),
        ("sources", []),
        ("notes", ["x"]),
        ("unknown.member", "x"),
        ("", "x"),
        (".", "x"),
        ("endpoints", "x"),
    ],
)
def test_a_change_that_cannot_be_is_refused(path, value):
    with pytest.raises(InvalidInput) as refused:
        overridden(load("generic"), {path: value})
    assert refused.value.fix
    assert "generic" in str(refused.value)


def test_a_text_has_no_members():
    with pytest.raises(InvalidInput, match="no such member"):
        overridden(load("slack"), {"asking.pkce.method": "S256"})


def test_the_closest_source_of_a_member_counts():
    slack = load("slack")
    assert source_of(slack, "answer.errors.invalid_code").sure == "documented"
    assert source_of(slack, "answer.errors.ratelimited").sure == "inferred"
    assert source_of(slack, "answer.scope_separator").sure == "reported"
    assert source_of(load("generic"), "refresh.rotates") is None
