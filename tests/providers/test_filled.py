"""No value of a parameter leaves its place: not the host, not the path, no query, port, user part or fragment."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valetkey.errors import InvalidInput
from valetkey.providers import filled, load, read

LAX = read(
    r"""
key = "lax"
name = "A file whose patterns allow everything"

[parameters.host]
about = "a host"
pattern = '[\s\S]*'

[parameters.sub]
about = "a part of a host"
pattern = '[\s\S]*'

[parameters.part]
about = "a part of a path"
pattern = '[\s\S]*'

[parameters.word]
about = "a word of the request"
pattern = '[\s\S]*'

[endpoints]
authorize = "https://{sub}.example.com/authorize"
token = "https://{host}/a/{part}/token"
issuer = "https://login.example.com/{part}"

[asking]
headers = { X-Word = "{word}" }
authorize_params = { audience = "{word}" }

[api]
hosts = ["{sub}.api.example.com", "{host}"]
""",
    "lax.toml",
)
GOOD = {"host": "h.example.net", "sub": "acme", "part": "p", "word": "w"}

HOSTILE = [
    "../", "..", ".", "a/../b", "/", "\\", "a\\b", "@", "a@evil.example", "user:pass@evil.example", "#", "a#b", "?",
    "a?b=c", "&a=b", ";", "%2f", "%2e%2e", "%00", "\0", "\n", "a\n", "a\r\nHost: evil.example", " ", "a b", "\t", "a:8443",
    ":", "evil.example/", "evil.example\u3002com", "evil\uff0eexample", "\uff45vil", "a\u200bb", "ümlaut", "{host}", "{", "}", "[::1]",
    "-a", "a-", ".a", "a.", "a..b", "*", "*.com", "a,b", "a=b", "'", '"', "<a>", "a|b", "x" * 254, "\u2028", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", ["host", "sub", "part"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_in_a_url_is_refused_whatever_its_pattern(name, value):
    with pytest.raises(InvalidInput) as refused:
        filled(LAX, {**GOOD, name: value})
    assert refused.value.code == "invalid_input"
    assert name in str(refused.value) or "endpoints" in str(refused.value) or "api.hosts" in str(refused.value)


@given(st.text(), st.text(), st.text())
@example("h.example", "a.b", "x..y")
@example("a", "b", "c")
def test_whatever_is_given_the_urls_keep_their_shape(host, sub, part):
    params = {**GOOD, "host": host, "sub": sub, "part": part}
    try:
        provider = filled(LAX, params)
    except InvalidInput:
        return
    assert_shape(provider, {name: value or GOOD[name] for name, value in params.items()})


SAFE = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,8}[A-Za-z0-9])?(\.[A-Za-z0-9]{1,8}){0,3}", fullmatch=True)


@given(SAFE, SAFE, SAFE)
def test_plain_values_are_taken_and_stand_where_they_belong(host, sub, part):
    assert_shape(
        filled(LAX, {**GOOD, "host": host, "sub": sub, "part": part}), {"host": host, "sub": sub, "part": part}
    )


def assert_shape(provider, params):
    token, authorize = urlsplit(provider.endpoints.token), urlsplit(provider.endpoints.authorize)
    issuer = urlsplit(provider.endpoints.issuer)
    for parts in (token, authorize, issuer):
        assert (parts.scheme, parts.query, parts.fragment) == ("https", "", "")
        assert parts.username is None
        assert parts.password is None
        assert parts.port is None
    assert token.hostname == params["host"].lower()
    assert token.path == f"/a/{params['part']}/token"
    assert authorize.hostname == f"{params['sub']}.example.com".lower()
    assert authorize.path == "/authorize"
    assert (issuer.hostname, issuer.path) == ("login.example.com", f"/{params['part']}")
    assert provider.api.hosts == [f"{params['sub']}.api.example.com", params["host"]]


@pytest.mark.parametrize("value", ["a\nb", "a\r\nX-Evil: 1", "a b", "\0", "ü", "x" * 254, "\x7f"])
def test_no_value_breaks_out_of_a_header(value):
    with pytest.raises(InvalidInput):
        filled(LAX, {**GOOD, "word": value})


def test_outside_urls_a_value_may_be_a_url_itself():
    provider = filled(LAX, {**GOOD, "word": "https://api.example.com/v2/?a=b"})
    assert provider.asking.authorize_params == {"audience": "https://api.example.com/v2/?a=b"}


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("salesforce", {"host": "evil.example"}),
        ("salesforce", {"host": "evilsalesforce.com"}),
        ("salesforce", {"host": "salesforce.com.evil.example"}),
        ("salesforce", {"host": "salesforce.com\n.evil.example"}),
        ("salesforce", {"host": "acme.my.salesforce.com\n"}),
        ("salesforce", {"login": "acme.my.salesforce.com"}),
        ("microsoft", {"tenant": "common/../evil"}),
        ("microsoft", {"tenant": ".."}),
        ("auth0", {"domain": "localhost", "audience": "a"}),
        ("auth0", {"domain": "acme.auth0.com/x", "audience": "a"}),
        ("auth0", {"domain": "acme.auth0.com", "audience": "a b"}),
        ("slack", {"scopes_in": "client_secret"}),
        ("zoom-s2s", {"account_id": "a&grant_type=x"}),
    ],
)
def test_the_catalogue_refuses_what_does_not_belong(key, params):
    with pytest.raises(InvalidInput) as refused:
        filled(load(key), params)
    assert refused.value.fix


def test_an_unknown_parameter_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInput, match="microsoft has no parameter 'tennant'") as refused:
        filled(load("microsoft"), {"tennant": "x"})
    assert "tenant" in refused.value.fix


def test_a_provider_without_parameters_takes_none():
    with pytest.raises(InvalidInput) as refused:
        filled(load("google"), {"tenant": "x"})
    assert "takes none" in refused.value.fix


def test_a_missing_parameter_is_named_with_what_it_is():
    with pytest.raises(InvalidInput, match="auth0 needs domain and audience") as refused:
        filled(load("auth0"), {})
    assert "your tenant's domain" in refused.value.fix
    assert refused.value.evidence["parameter"] == "domain"


def test_a_filled_provider_needs_nothing_more():
    provider = filled(load("microsoft"), {"tenant": "contoso.com"})
    assert filled(provider, {}) == provider
    with pytest.raises(InvalidInput):
        filled(provider, {"tenant": "other.com"})


def test_filling_leaves_the_provider_of_the_catalogue_as_it_was():
    before = load("slack").asking.scope_param
    filled(load("slack"), {"scopes_in": "user_scope"})
    assert load("slack").asking.scope_param == before == "{scopes_in}"
