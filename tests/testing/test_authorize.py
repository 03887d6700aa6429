"""The authorization endpoint: what goes back to the client, what is shown on a page, and what the pages hold."""

import base64
import hashlib
import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from valetkey.errors import RequestRefused

pytestmark = pytest.mark.network

FORM = "application/x-www-form-urlencoded"


def answer(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_the_answer_carries_code_state_and_issuer(hand):
    back = hand.sandbox.login(hand.authorization_url(state="a b&c"))
    assert back.startswith(hand.callback + "?")
    told = answer(back)
    assert set(told) == {"code", "state", "iss"}
    assert (told["state"], told["iss"]) == ("a b&c", hand.sandbox.issuer)


def test_deny_comes_back_as_access_denied_with_state_and_issuer(hand):
    told = answer(hand.sandbox.login(hand.authorization_url(), allow=False))
    assert (told["error"], told["state"], told["iss"]) == ("access_denied", "af0ifjsldkj", hand.sandbox.issuer)
    assert "code" not in told


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": "tooshort"}, "invalid_request"),
        ({"scope": "read root"}, "invalid_scope"),
        ({"resource": "not-a-uri"}, "invalid_target"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "please"}, "invalid_request"),
    ],
)
def test_what_is_wrong_with_the_request_goes_back_to_the_client(hand, changed, error):
    told = answer(hand.sandbox.login(hand.authorization_url(**changed)))
    assert (told["error"], told["state"], told["iss"]) == (error, "af0ifjsldkj", hand.sandbox.issuer)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"redirect_uri": ""}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://evil.example/callback"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://127.0.0.1:49152/callback/"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://127.0.0.1:49152/callback?x=1"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://127.0.0.1.evil.example:49152/callback"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://127.0.0.1:80@evil.example/callback"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://evil@127.0.0.1:80/callback"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://localhost:49152/callback"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://127.0.0.1:49152/callback"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://127.0.0.1:99999/callback"}, "redirect_uri_mismatch"),
    ],
)
def test_a_wrong_client_or_redirect_uri_is_shown_and_never_redirects(hand, changed, error):
    url = hand.authorization_url(**changed)
    reply = hand.ask("GET", url.removeprefix(hand.sandbox.url))
    assert reply.status == 400
    assert "location" not in reply.headers
    assert error in reply.text
    with pytest.raises(RequestRefused) as raised:
        hand.sandbox.login(url)
    assert raised.value.code == error


@pytest.mark.parametrize("host", ["127.0.0.1:1", "127.0.0.1:65535", "[::1]:8080", "127.0.0.1", "[::1]"])
def test_the_port_of_a_loopback_redirect_uri_is_free(hand, host):
    callback = f"http://{host}/callback"
    assert hand.sandbox.login(hand.authorization_url(redirect_uri=callback)).startswith(callback + "?code=")


def test_a_registered_redirect_uri_must_match_to_the_letter_and_keeps_its_query(opened):
    hand = opened(redirect_uris=["https://app.example/cb?tenant=1"])
    back = hand.sandbox.login(hand.authorization_url(redirect_uri="https://app.example/cb?tenant=1"))
    assert back.startswith("https://app.example/cb?tenant=1&code=")
    with pytest.raises(RequestRefused):
        hand.sandbox.login(hand.authorization_url(redirect_uri="https://app.example:443/cb?tenant=1"))


def test_a_repeated_client_id_is_shown_and_a_repeated_scope_goes_back(hand):
    path = hand.authorization_url().removeprefix(hand.sandbox.url)
    assert hand.ask("GET", path + "&client_id=sandbox-cli").status == 400
    assert hand.ask("GET", path + "&scope=read").location["error"] == "invalid_request"


# ── prompt ────────────────────────────────────────────────────────────────────────────────────────────────────


class Person:
    """A browser by hand, with one cookie."""

    def __init__(self, hand):
        self.hand = hand
        self.cookie = ""

    def get(self, url):
        return self.keep(self.hand.ask("GET", url.removeprefix(self.hand.sandbox.url), cookie=self.cookie))

    def send(self, page, **fields):
        action = re.search(r'action="([^"]+)"', page.text).group(1).replace("&amp;", "&")
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text).group(1)
        body = urlencode({"csrf": csrf, **fields})
        return self.keep(self.hand.ask("POST", action, body, cookie=self.cookie, content_type=FORM))

    def keep(self, reply):
        if "set-cookie" in reply.headers:
            self.cookie = reply.headers["set-cookie"].split(";")[0]
        return reply

    def log_in(self, url, name="alice"):
        reply = self.send(self.get(url), login=name, password="x")
        assert reply.status == 303
        return self.get(reply.headers["location"])


@pytest.fixture
def person(hand):
    return Person(hand)


def test_prompt_none_answers_without_a_page_once_somebody_is_here_and_consented(hand, person):
    silent = hand.authorization_url(prompt="none")
    assert person.get(silent).location["error"] == "login_required"
    consent = person.log_in(hand.authorization_url())
    assert person.get(silent).location["error"] == "consent_required"
    code = person.send(consent, decision="allow").location["code"]
    assert hand.redeem(code).status == 200
    assert "code" in person.get(silent).location
    hand.sandbox.revoke(user="alice")
    assert person.get(silent).location["error"] == "consent_required"


def test_prompt_login_asks_again_who_is_there_and_does_not_turn_in_circles(hand, person):
    person.log_in(hand.authorization_url(), "alice")
    url = hand.authorization_url(prompt="login consent")
    assert 'name="login"' in person.get(url).text
    page = person.log_in(url, "bob")
    assert "<strong>bob</strong>" in page.text
    assert "code" in person.send(page, decision="allow").location


# ── the pages ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_pages_forbid_scripts_frames_and_being_kept(hand, person):
    page = person.get(hand.authorization_url())
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    # Chrome applies form-action to the redirect after the form as well.
    assert "form-action 'self' http://127.0.0.1:49152;" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "<script" not in page.text
    assert "HttpOnly" in page.headers["set-cookie"]
    assert "SameSite=Lax" in page.headers["set-cookie"]


def test_the_one_style_is_the_one_the_policy_lets_in(hand, person):
    page = person.get(hand.authorization_url())
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    assert ' style="' not in page.text


def test_the_consent_page_says_who_asks_for_what_and_where_it_leads(hand, person):
    page = person.log_in(hand.authorization_url(scope="read write"))
    for said in ("Sandbox Web App", "alice", "Read what you own", "Change what you own", hand.callback):
        assert said in page.text


def test_a_name_is_shown_as_text_and_never_as_html(hand, person):
    page = person.log_in(hand.authorization_url(), "<b>eve</b>")
    assert "<b>eve" not in page.text
    assert "&lt;b&gt;eve" in page.text


def test_an_attribute_is_not_left_by_a_quote_in_the_request(hand, person):
    page = person.get(hand.authorization_url(state='"><script>alert(1)</script>'))
    assert "<script" not in page.text


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\x00b", "two\nlines"])
def test_a_name_that_is_none_is_asked_for_again(hand, person, name):
    page = person.send(person.get(hand.authorization_url()), login=name, password="x")
    assert (page.status, 'role="alert"' in page.text) == (200, True)


def test_a_form_from_elsewhere_is_refused_on_a_page(hand, person):
    page = person.log_in(hand.authorization_url())
    forged = person.send(page, decision="allow", csrf="guessed")
    assert forged.status == 403
    assert "location" not in forged.headers
    missing = hand.ask(
        "POST",
        "/authorize?" + hand.authorization_url().split("?")[1],
        "decision=allow",
        cookie=person.cookie,
        content_type=FORM,
    )
    assert missing.status == 403


def test_a_login_changes_the_cookie(hand, person):
    person.get(hand.authorization_url())
    before = person.cookie
    person.log_in(hand.authorization_url())
    assert person.cookie != before
