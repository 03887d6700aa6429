"""Putting a token request together: which URL, which headers, which parameters."""

from __future__ import annotations

import pytest

from valetkey.errors import InsecureUrl, InvalidInput
from valetkey.oauth.client import LIMIT, TIMEOUT, ask, merged


def test_a_request_is_a_bounded_post_that_asks_for_json(client, stamp):
    request = ask(client(), "token", {"a": "b"}, stamp=stamp)
    assert (request.method, request.url) == ("POST", "https://server.example.com/token")
    assert request.headers["accept"] == "application/json"
    assert (request.timeout, request.limit) == (TIMEOUT, LIMIT)


def test_parameters_without_a_value_are_left_out(client, stamp, asked):
    assert asked(ask(client(), "token", {"a": "b", "c": "", "d": ()}, stamp=stamp)).form == {"a": "b"}


def test_a_parameter_with_several_values_stands_several_times(client, stamp):
    # RFC 8707 section 2
    form = {"resource": ("https://cal.example.com/", "https://contacts.example.com/")}
    body = ask(client(), "token", form, stamp=stamp).body
    assert body == b"resource=https%3A%2F%2Fcal.example.com%2F&resource=https%3A%2F%2Fcontacts.example.com%2F"


def test_several_values_are_a_list_in_json(client, stamp, asked):
    got = asked(ask(client(asking={"body": "json"}), "token", {"resource": ("https://a/", "https://b/")}, stamp=stamp))
    assert got.form == {"resource": ["https://a/", "https://b/"]}


def test_the_provider_s_headers_are_sent_with_lower_case_names(client, stamp):
    request = ask(client(asking={"headers": {"Notion-Version": "2022-06-28"}}), "token", {}, stamp=stamp)
    assert request.headers["notion-version"] == "2022-06-28"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("", InvalidInput),
        ("http://server.example.com/token", InsecureUrl),
        ("https://{tenant}.example.com/token", InvalidInput),
        ("https://user:pa55@server.example.com/token", InvalidInput),
        ("ftp://server.example.com/token", InvalidInput),
    ],
)
def test_an_endpoint_that_may_not_see_a_secret_is_never_asked(client, stamp, url, error):
    with pytest.raises(error) as refused:
        ask(client(endpoints={"token": url}), "token", {"a": "b"}, stamp=stamp)
    assert refused.value.fix
    assert "pa55" not in refused.value.explain()


def test_plain_http_is_taken_on_loopback(client, stamp):
    url = "http://127.0.0.1:8080/token"
    assert ask(client(endpoints={"token": url}), "token", {}, stamp=stamp).url == url


@pytest.mark.parametrize("body", ["form", "json"])
def test_a_parameter_that_is_not_unicode_is_refused(client, stamp, body):
    with pytest.raises(InvalidInput):
        ask(client(asking={"body": body}), "token", {"a": "\udc80"}, stamp=stamp)


def test_the_caller_goes_before_us_before_the_provider():
    got = merged({"a": "theirs", "b": "theirs", "c": "theirs"}, {"b": "ours", "c": ""}, {"d": "caller", "a": "caller"})
    assert got == {"a": "caller", "b": "ours", "c": "theirs", "d": "caller"}


@pytest.mark.parametrize(("ours", "protected"), [({"state": "x"}, ()), ({}, {"state"}), ({"state": ""}, {"state"})])
def test_the_caller_may_not_replace_what_we_set_or_guard(ours, protected):
    with pytest.raises(InvalidInput, match="'state'"):
        merged({}, ours, {"state": "mine"}, protected)


def test_neither_client_nor_stamp_nor_request_shows_a_secret(client, stamp):
    request = ask(client(), "token", {"code": "the-code"}, stamp=stamp)
    shown = repr(client()) + repr(stamp) + repr(request) + str(request)
    assert "gX1fBat3bV" not in shown
    assert "the-code" not in shown
    assert "czZCaGRSa3F0Mzpn" not in shown
    assert "s6BhdRkqt3" in shown
