"""Connecting through the pages, by a person at a browser, and everything that can go wrong on the way back."""

from __future__ import annotations

import threading
from html import escape
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest

from valetkey.testing.apps import sandbox_apps
from valetkey.values import Secret
from valetkey.vault.connect import Wish

pytestmark = pytest.mark.network


def test_a_person_connects_through_the_pages(running, person):
    page = person.lands(person.sent_back())
    assert page.status_code == 200
    assert "sandbox/alice is connected" in page.text
    info = running.vault.connection("sandbox/alice")
    assert (info.state, list(info.granted)) == ("active", ["profile", "read"])
    assert "sandbox/alice" in person.get("/").text
    assert person.get("/health").json() == {"status": "ok", "connections": {"active": 1}}


def test_the_first_page_leads_to_the_page_of_a_connection(person):
    assert 'action="/connect"' in person.get("/").text
    there = person.get("/connect", params={"app": "sandbox", "label": " alice@example.com "})
    assert (there.status_code, there.headers["location"]) == (303, "/connect/sandbox/alice%40example.com")
    assert "Connect sandbox/alice@example.com" in person.get(there.headers["location"]).text


def test_the_request_is_bound_to_our_address_and_carries_state_and_pkce(running, person):
    asked = parse_qs(urlsplit(person.press("/connect/sandbox/alice").headers["location"]).query)
    assert asked["redirect_uri"] == [f"{running.url}/callback"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["state"][0]) >= 43, "32 random bytes"


def test_connecting_again_asks_for_what_was_asked_before_and_keeps_the_name(running, person):
    person.lands(person.sent_back("/connect/sandbox/alice?scope=read%20write"))
    running.sandbox.revoke("alice")
    begun = person.press("/connect/sandbox/alice")
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["scope"] == ["read write"]
    assert person.lands(running.sandbox.login(begun.headers["location"])).status_code == 200
    assert [info.name for info in running.vault.connections()] == ["sandbox/alice"]


def test_what_was_asked_for_and_not_granted_is_said(serving, person_at):
    person = person_at(serving(manner="narrow_scopes"))  # never grants `write`
    assert "Not granted" not in person.lands(person.sent_back("/connect/sandbox/alice?scope=read")).text
    page = person.lands(person.sent_back("/connect/sandbox/bob?scope=read%20write", user="bob"))
    assert "<dt>Not granted</dt><dd>write</dd>" in page.text


def test_a_machine_needs_no_page_of_the_provider(running, person):
    begun = person.press("/connect/sandbox-machine/nightly")
    assert (begun.status_code, begun.headers["location"]) == (303, "/done")
    assert "sandbox-machine/nightly is connected" in person.get("/done").text
    assert running.vault.connection("sandbox-machine/nightly").state == "active"


# ── as the app says ───────────────────────────────────────────────────────────────────────────────────────────


def robot(running, **says):
    """Keep the sandbox's machine with the whole description of the server, as --issuer gives it: people could log in."""
    machine = next(app for app in sandbox_apps(running.sandbox) if app.name == "sandbox-machine")
    whole = {"described": running.sandbox.provider(), **says}
    return running.vault.add_app(msgspec.structs.replace(machine, name="robot", **whole))


def test_an_app_for_machines_sends_nobody_to_the_provider(running, person):
    robot(running, grant="client_credentials", scopes=("read",))
    assert "robot · valetkey sandbox · for machines" in person.get("/").text
    page = person.get("/connect/robot/nightly")
    assert "No person is needed" in page.text
    assert "<dd>read</dd>" in page.text
    assert ("Comes back to" in page.text, "Continue to" in page.text) == (False, False)
    assert running.sandbox.url not in page.headers["content-security-policy"]
    assert person.press("/connect/robot/nightly").headers["location"] == "/done"
    assert "robot/nightly is connected" in person.get("/done").text
    made = running.vault.connection("robot/nightly")
    assert (made.grant, list(made.granted)) == ("client_credentials", ["read"])


def test_a_machine_without_scopes_of_its_own_asks_for_those_usual_for_machines(running, person):
    whole = msgspec.structs.replace(
        running.sandbox.provider(), scopes=["profile", "read"], client_credentials_scopes=["write"]
    )
    robot(running, grant="client_credentials", described=whole)
    assert "<dt>Asks for</dt><dd>write</dd>" in person.get("/connect/robot/one").text
    person.press("/connect/robot/one")
    assert list(running.vault.connection("robot/one").granted) == ["write"]


def test_a_machines_connection_is_connected_again_as_one(running, person):
    robot(running)
    assert "Continue to" in person.get("/connect/robot/one").text  # nobody has said that it is for machines
    running.vault.connect_machine("robot/one", "client_credentials", wish=Wish(scopes=("read",)))
    assert "Get a token" in person.get("/connect/robot/one").text
    assert person.press("/connect/robot/one").headers["location"] == "/done"
    assert running.vault.connection("robot/one").refreshes == 1


def test_a_key_that_is_the_grant_itself_is_used_as_such(running, person):
    client = running.sandbox.clients["sandbox-machine"]
    pem = Secret(client.key.to_pem(private=True).decode())
    key = {"secret": None, "private_key": pem, "key_alg": "ES256", "token_auth": "none"}
    robot(running, **key, grant="jwt_bearer", scopes=("read",))
    assert "No person is needed" in person.get("/connect/robot/one").text
    person.press("/connect/robot/one")
    assert "robot/one is connected" in person.get("/done").text
    assert running.vault.connection("robot/one").grant == "jwt_bearer"


def test_an_app_with_a_code_to_type_says_which_command_shows_it(running, person):
    robot(running, grant="device_code")
    page = person.get("/connect/robot/tv")
    assert "<pre>valetkey connect robot/tv --device</pre>" in page.text
    assert ("<form" in page.text, "<button" in page.text) == (False, False)
    form = person.form("/connect/sandbox/alice")  # of another page: this one has none to press
    assert person.post("/connect/robot/tv", data=form).headers["location"] == "/done"
    page = person.get("/done")
    assert (page.status_code, "robot/tv was not connected" in page.text) == (400, True)
    assert running.vault.states() == {}


def test_an_app_without_any_way_to_connect_says_what_it_lacks(running, person):
    app = next(app for app in sandbox_apps(running.sandbox) if app.name == "sandbox-machine")
    running.vault.add_app(msgspec.structs.replace(app, name="none", secret=None, token_auth="none"))
    page = person.get("/connect/none/x")
    assert (page.status_code, "has no way to connect" in page.text, "--authorize-url" in page.text) == (400, True, True)


# ── answers that are not for us ───────────────────────────────────────────────────────────────────────────────


def test_a_state_never_given_out_is_refused(running, person):
    page = person.lands("/callback?code=abc&state=never-given-out")
    assert (page.status_code, "state_unknown" in page.text) == (400, True)
    assert running.vault.states() == {}


def test_an_answer_is_good_once(running, person):
    address = person.sent_back()
    assert person.lands(address).status_code == 200
    page = person.lands(address)
    assert (page.status_code, "state_used" in page.text) == (409, True)
    assert running.sandbox.count("authorization_code") == 1, "the code was not redeemed twice"
    assert running.vault.connection("sandbox/alice").state == "active"


@pytest.mark.parametrize("visited", [True, False])
def test_an_answer_of_another_browser_is_refused_and_stays_good_for_its_own(running, person, person_at, visited):
    address = person.sent_back()
    other = person_at(running)
    if visited:
        other.form("/connect/sandbox/alice")  # it has a cookie of its own
    page = other.lands(address)
    assert (page.status_code, "state_not_yours" in page.text) == (403, True)
    assert running.sandbox.count("authorization_code") == 0
    assert person.lands(address).status_code == 200


def test_the_result_is_shown_only_in_the_browser_it_belongs_to(running, person, person_at):
    person.lands(person.sent_back())
    page = person_at(running).get("/done")
    assert (page.status_code, "sandbox/alice" in page.text) == (404, False)


@pytest.mark.parametrize(
    ("damage", "status", "code"),
    [
        (lambda address: address.replace("iss=", "ess="), 400, "issuer_missing"),
        (lambda address: address.replace("iss=http", "iss=https"), 400, "issuer_mismatch"),
        (lambda address: address.replace("code=", "kode="), 400, "code_missing"),
        (lambda address: address.replace("state=", "etats="), 400, "state_missing"),
        (lambda address: f"{address}&code=another", 400, "invalid_callback"),
        (lambda address: f"{address}&x=%ff", 400, "invalid_callback"),
    ],
)
def test_a_damaged_answer_is_refused_by_name(running, person, damage, status, code):
    page = person.lands(damage(person.sent_back()))
    assert (page.status_code, code in page.text) == (status, True)
    assert running.vault.states() == {}


def test_looking_at_the_callback_does_not_use_the_answer(running, person):
    address = person.sent_back()
    assert person.client.head(address).status_code == 405
    assert person.lands(address).status_code == 200


# ── the provider says no ──────────────────────────────────────────────────────────────────────────────────────


def test_a_denied_consent_is_shown_as_one(running, person):
    page = person.lands(person.sent_back(allow=False))
    assert (page.status_code, "access_denied" in page.text) == (403, True)
    assert running.vault.states() == {}


def test_a_provider_that_is_down_is_not_the_persons_fault(running, person):
    address = person.sent_back()
    running.sandbox.fail_next(at="token")
    page = person.lands(address)
    assert (page.status_code, "provider_unavailable" in page.text) == (503, True)


def test_a_wrong_client_secret_is_our_fault(running, person):
    address = person.sent_back()
    app = msgspec.structs.replace(sandbox_apps(running.sandbox)[0], secret=Secret("not the right one at all"))
    running.vault.add_app(app, replace=True)
    page = person.lands(address)
    assert (page.status_code, "invalid_client" in page.text) == (502, True)
    assert "not the right one" not in page.text


def test_words_of_a_stranger_are_shown_as_words(running, person):
    begun = person.press("/connect/sandbox/alice")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    words = "<script>alert(1)</script>"
    answer = f"/callback?error=access_denied&error_description={quote(words)}&state={state}&iss={running.sandbox.url}"
    page = person.lands(answer)
    assert page.status_code == 403
    assert escape(words) in page.text
    assert "<script" not in page.text


def test_an_app_or_name_that_does_not_exist_is_said_at_once(person):
    for path, status, code in (
        ("/connect/nothing/alice", 404, "not_found"),
        ("/connect/sandbox/%3Cb%3E", 400, "invalid_input"),
        ("/connect?app=sandbox&label=", 400, "invalid_input"),
        ("/nowhere", 404, "not_found"),
    ):
        page = person.get(path)
        assert (page.status_code, code in page.text) == (status, True), path
        assert "<b>" not in page.text


# ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_a_slow_provider_holds_up_nobody_else(running, person, person_at):
    address = person.sent_back()
    running.sandbox.slow_next(2.0, at="token")
    waiting = threading.Thread(target=person.lands, args=(address,))
    waiting.start()
    while not running.sandbox.count("authorization_code"):
        waiting.join(0.01)
    assert person_at(running).get("/health").status_code == 200
    assert waiting.is_alive(), "the answer of the provider is still on its way"
    waiting.join(30)
    assert running.vault.connection("sandbox/alice").state == "active"


@pytest.mark.slow
def test_who_is_on_the_way_back_is_let_in_before_the_server_ends(running, person):
    address = person.sent_back()
    running.sandbox.slow_next(1.0, at="token")
    landed = []
    waiting = threading.Thread(target=lambda: landed.append(person.get(address).status_code))
    waiting.start()
    while not running.sandbox.count("authorization_code"):
        waiting.join(0.01)
    running.stop()
    waiting.join(30)
    assert landed == [303]
    assert running.vault.connection("sandbox/alice").state == "active"


def test_the_log_says_in_which_request_a_connection_was_made(running, person):
    person.press("/connect/sandbox-machine/ci")
    posted = person.answers[-1]
    made = [line for line in running.vault.events() if line.subject == "sandbox-machine/ci"]
    assert [line.kind for line in made] == ["connect.started", "connection.created"]
    assert {line.request for line in made} == {posted.headers["x-request-id"]}
    other = person.get("/done").headers["x-request-id"]
    assert other != posted.headers["x-request-id"]
