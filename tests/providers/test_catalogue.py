"""Every file of the catalogue holds to the rules of a catalogue; what the files say is in test_expected.py."""

from __future__ import annotations

import re
from datetime import date
from itertools import combinations
from urllib.parse import urlsplit

import pytest

from valetkey.providers import filled, keys, load
from valetkey.providers.checks import host_allowed
from valetkey.providers.facts import covers, leaves, source_of
from valetkey.providers.templates import names_in, texts, urls

PROVIDERS = [
    "atlassian",
    "auth0",
    "generic",
    "github",
    "google",
    "hubspot",
    "microsoft",
    "notion",
    "salesforce",
    "slack",
    "zoom",
    "zoom-s2s",
]

REFRESHES_WITHOUT_ASKING = {"github", "hubspot", "notion", "slack", "zoom"}
"""Their documentation names neither a scope nor a parameter for a refresh token: it comes, or the app's settings say."""

SAME_HOUSE = {frozenset({"zoom", "zoom-s2s"})}
"""Entries of one provider, whose tokens may go to the same hosts."""

SHARED_SUFFIXES = {
    "amazonaws.com", "azurewebsites.net", "cloudfront.net", "co.jp", "co.uk", "com.au", "com.br", "appspot.com",
    "github.io", "herokuapp.com", "myshopify.com", "netlify.app", "ngrok.io", "pages.dev", "run.app", "salesforce.com",
    "sharepoint.com", "vercel.app", "web.app", "workers.dev",
}  # fmt: skip
"""Suffixes below which strangers have hosts: a token bound to one would go to all of them."""


def every_leaf():
    return [(key, path) for key in PROVIDERS for path in leaves(load(key))]


def test_the_catalogue_holds_these_providers():
    assert keys() == PROVIDERS


@pytest.mark.parametrize("key", PROVIDERS)
def test_the_file_is_named_by_its_key(key):
    assert load(key).key == key


@pytest.mark.parametrize(("key", "path"), every_leaf())
def test_every_value_that_is_no_default_has_a_source(key, path):
    assert source_of(load(key), path) is not None, f"{key}: nobody says where {path} was read"


@pytest.mark.parametrize("key", PROVIDERS)
def test_every_source_has_a_day_a_place_and_facts_that_exist(key):
    provider = load(key)
    members = leaves(provider, defaults=True)
    for source in provider.sources:
        assert date.fromisoformat(source.date) >= date(2026, 11, 23)
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", source.date)
        assert source.where.strip()
        assert source.facts
        for fact in source.facts:
            assert any(covers(fact, member) for member in members), f"{key}: {fact} is no member"


@pytest.mark.parametrize("key", PROVIDERS)
def test_what_is_called_documented_names_a_page(key):
    for source in load(key).sources:
        if source.sure == "documented":
            assert re.search(r"https://|RFC \d+", source.where) or key == "generic"


@pytest.mark.parametrize("key", PROVIDERS)
def test_what_was_only_remembered_is_not_called_documented(key):
    for source in load(key).sources:
        if source.where.startswith("Remembered"):
            assert source.sure == "inferred"


@pytest.mark.parametrize("key", PROVIDERS)
def test_every_url_is_https_and_has_no_query(key):
    for path, url in urls(load(key)):
        if url:
            parts = urlsplit(url)
            assert (parts.scheme, parts.query, parts.fragment) == ("https", "", ""), path


@pytest.mark.parametrize("key", PROVIDERS)
def test_the_pages_for_people_are_https(key):
    provider = load(key)
    assert provider.docs.startswith("https://")
    assert provider.console == "" or provider.console.startswith("https://")


@pytest.mark.parametrize("key", PROVIDERS)
def test_templates_use_what_is_declared_and_declare_what_is_used(key):
    provider = load(key)
    used = {name for _path, text in texts(provider) for name in names_in(text)}
    assert used == set(provider.parameters)


@pytest.mark.parametrize("key", PROVIDERS)
def test_parameters_say_what_they_are_and_their_defaults_fit(key):
    for parameter in load(key).parameters.values():
        assert parameter.about
        assert parameter.default == "" or re.fullmatch(parameter.pattern, parameter.default)


@pytest.mark.parametrize("key", PROVIDERS)
def test_notes_are_single_plain_sentences(key):
    notes = load(key).notes
    assert notes, "there is always something a person must know"
    for note in notes:
        assert note[0].isupper()
        assert note.endswith(".")
        assert "\n" not in note
        assert len(note) <= 200
        assert ". " not in note, f"one sentence each: {note}"


@pytest.mark.parametrize("key", [key for key in PROVIDERS if key != "generic"])
def test_every_grant_has_the_endpoints_it_needs(key):
    provider = load(key)
    assert provider.endpoints.token
    assert bool(provider.endpoints.authorize) == ("authorization_code" in provider.grants)
    assert bool(provider.endpoints.device) == ("device_code" in provider.grants)


@pytest.mark.parametrize("key", [key for key in PROVIDERS if key != "generic"])
def test_a_connection_can_last(key):
    provider = load(key)
    asked = bool(provider.offline_scopes) or provider.asking.authorize_params.get("access_type") == "offline"
    assert asked or not provider.refresh.available or key in REFRESHES_WITHOUT_ASKING
    assert not (asked and key in REFRESHES_WITHOUT_ASKING), "the exception is no longer needed"


@pytest.mark.parametrize("key", [key for key in PROVIDERS if key != "generic"])
def test_tokens_are_bound_to_hosts(key):
    assert load(key).api.hosts


def test_no_wildcard_reaches_hosts_of_strangers():
    for key in PROVIDERS:
        for pattern in load(key).api.hosts:
            if pattern.startswith("*."):
                suffix = pattern[2:]
                assert suffix.count(".") >= 1, f"{key}: {pattern}"
                assert suffix not in SHARED_SUFFIXES, f"{key}: {pattern}"


def test_no_token_of_one_provider_may_go_to_another():
    bound = {key: [host for host in load(key).api.hosts if not names_in(host)] for key in PROVIDERS}
    for one, other in combinations(PROVIDERS, 2):
        if frozenset({one, other}) in SAME_HOUSE:
            continue
        for mine in bound[one]:
            for theirs in bound[other]:
                meet = host_allowed(mine, theirs.removeprefix("*.")) or host_allowed(theirs, mine.removeprefix("*."))
                assert not meet, f"{one} {mine} and {other} {theirs}"


@pytest.mark.parametrize("key", PROVIDERS)
def test_the_words_for_errors_are_those_of_the_rfcs(key):
    known = {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope", "access_denied", "server_error", "temporarily_unavailable",
    }  # fmt: skip
    assert set(load(key).answer.errors.values()) <= known


@pytest.mark.parametrize("key", PROVIDERS)
def test_every_entry_can_be_filled(key):
    given = {"zoom-s2s": {"account_id": "abc_DEF-1"}, "auth0": {"domain": "t.eu.auth0.com", "audience": "https://a/"}}
    provider = filled(load(key), given.get(key, {}))
    assert provider.parameters == {}
    assert all(not names_in(text) for _path, text in texts(provider))
