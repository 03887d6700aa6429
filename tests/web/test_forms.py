"""A form is taken only from our own page in the same browser; the cookie is worth something in this browser only."""

from __future__ import annotations

import pytest

from valetkey.values import Secret
from valetkey.web.browser import browser_of, cookie_header, cookie_name, form_token, from_our_page

PATH = "/connect/sandbox/alice"
URL = "http://127.0.0.1:8400"
BROWSER = Secret("b" * 43)


@pytest.mark.network
def test_a_form_without_its_token_is_refused(running, person):
    form = person.form(PATH)
    for data in ({**form, "csrf": ""}, {**form, "csrf": "0" * 64}, {"scope": ""}):
        answer = person.post(PATH, data=data)
        assert (answer.status_code, "form_not_ours" in answer.text) == (403, True)
    assert not running.vault.events() or all(line.kind != "connect.started" for line in running.vault.events())


@pytest.mark.network
def test_the_token_of_another_browser_is_refused(running, person, person_at):
    form = person_at(running).form(PATH)
    person.form(PATH)
    assert person.post(PATH, data=form).status_code == 403


@pytest.mark.network
def test_a_form_from_a_browser_without_cookies_is_refused(person):
    form = person.form(PATH)
    person.client.cookies.clear()
    assert person.post(PATH, data=form).headers["location"] == "/enter"
    assert person.post("/enter", data={**form, "key": "any"}).status_code == 403


@pytest.mark.network
def test_a_form_that_is_too_large_or_no_form_is_refused(person):
    person.form(PATH)
    assert person.post(PATH, data={"csrf": "x" * 20_000}).status_code == 413
    assert person.post(PATH, content=b"\xff\xfe").status_code == 400
    assert person.post(PATH, data={f"f{n}": "x" for n in range(30)}).status_code == 400


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),  # what browsers send from a page without referrer
        ({"origin": URL}, True),
        ({"origin": "null"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site", "origin": "null"}, False),  # another port of this machine
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "https://evil.example"}, False),
    ],
)
def test_what_the_browser_says_of_the_sender_counts_too(headers, ours):
    assert from_our_page(BROWSER, headers, form_token(BROWSER), URL) is ours
    assert not from_our_page(BROWSER, headers, form_token(Secret("c" * 43)), URL)
    assert not from_our_page(None, headers, form_token(BROWSER), URL)


def test_over_https_the_cookie_is_bound_to_the_host():
    # RFC 6265bis section 4.1.3.2: __Host- needs Secure, Path=/ and no Domain.
    header = cookie_header("https://auth.example", "v")
    assert header == "__Host-valetkey-browser=v; Path=/; HttpOnly; SameSite=Lax; Secure"


def test_on_loopback_two_servers_do_not_share_a_cookie():
    assert cookie_name("http://127.0.0.1:8400") != cookie_name("http://127.0.0.1:8401")
    assert cookie_header(URL, "v") == "valetkey_browser_8400=v; Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize("value", ["", "short", "a" * 42, "a" * 44, "é" * 43, "a" * 42 + "!"])
def test_a_cookie_that_is_not_ours_is_none(value):
    assert browser_of({"valetkey_browser_8400": value}, URL) is None
    assert browser_of({"valetkey_browser_8400": "a" * 43}, URL) == Secret("a" * 43)


def test_the_form_token_does_not_give_the_cookie_away():
    assert BROWSER.reveal() not in form_token(BROWSER)
    assert len(form_token(BROWSER)) == 64, "SHA-256 in hex"
