"""What can be made to go wrong, and what the log says of it."""

import threading

import pytest
import urllib3

from valetkey.errors import InvalidInput

pytestmark = pytest.mark.network


def test_the_next_requests_fail_without_being_looked_at_and_then_all_is_well(hand):
    token = hand.connect()["refresh_token"]
    hand.sandbox.fail_next(2, status=503, retry_after=7)
    for _time in range(2):
        reply = hand.refresh(token)
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    assert hand.refresh(token).status == 200


def test_a_failure_can_be_any_error_at_any_endpoint(hand):
    hand.sandbox.fail_next(status=400, error="invalid_client", at="revoke")
    hand.sandbox.fail_next(status=429, at="api")
    assert hand.token("client_credentials", "sandbox-machine").status == 200
    assert hand.post("/revoke", token="x").error == "invalid_client"
    limited = hand.whoami("x")
    assert limited.status == 429
    assert "retry-after" not in limited.headers


def test_a_page_of_html_comes_where_json_should_be(hand):
    hand.sandbox.html_next()
    reply = hand.token("client_credentials", "sandbox-machine")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html")
    assert reply.text.startswith("<!doctype html>")


def test_a_dropped_answer_was_obeyed_so_the_refresh_token_is_spent(hand):
    token = hand.connect()["refresh_token"]
    hand.sandbox.drop_next_answer()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        hand.refresh(token)
    assert hand.sandbox.count("refresh_token", "ok") == 1
    assert hand.refresh(token).error == "invalid_grant"
    assert not hand.sandbox.grant_alive("alice")


def test_a_dropped_answer_under_a_forgiving_manner_can_be_asked_for_again(opened):
    hand = opened("until_new_is_used")
    token = hand.connect()["refresh_token"]
    hand.sandbox.drop_next_answer()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        hand.refresh(token)
    assert hand.refresh(token).status == 200


def test_a_slow_answer_was_obeyed_before_the_client_gave_up(hand):
    token = hand.connect()["refresh_token"]
    hand.sandbox.slow_next(600)
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        hand.http.request(
            "POST",
            f"{hand.sandbox.url}/token",
            fields={
                "grant_type": "refresh_token",
                "refresh_token": token,
                "client_id": "sandbox-web",
                "client_secret": hand.secret("sandbox-web"),
            },
            encode_multipart=False,
            timeout=0.5,
        )
    assert hand.sandbox.count("refresh_token", "ok") == 1


def test_a_slow_answer_does_not_hold_up_others(hand):
    hand.sandbox.slow_next(600, at="api")
    waiting = threading.Thread(target=lambda: _quietly(hand), daemon=True)
    waiting.start()
    while not hand.sandbox.count("api"):
        waiting.join(0.01)
    assert hand.token("client_credentials", "sandbox-machine").status == 200
    hand.sandbox.stop()  # stopping does not wait ten minutes either
    waiting.join(20)
    assert not waiting.is_alive()


def _quietly(hand):
    with pytest.raises(urllib3.exceptions.HTTPError):
        hand.http.request("GET", f"{hand.sandbox.url}/api/whoami", timeout=900)


def test_faults_are_met_in_turn_and_can_be_forgotten(hand):
    hand.sandbox.fail_next(status=500)
    hand.sandbox.html_next(status=502)
    hand.sandbox.fail_next(5)
    assert [hand.token("x").status for _time in range(2)] == [500, 502]
    assert hand.sandbox.clear_faults() == 5
    assert hand.token("client_credentials", "sandbox-machine").status == 200


def test_any_is_whatever_comes_next(hand):
    hand.sandbox.fail_next(at="any")
    assert hand.ask("GET", "/health").status == 503


def test_a_fault_at_no_endpoint_is_refused(hand):
    with pytest.raises(InvalidInput):
        hand.sandbox.fail_next(at="tokens")


def test_the_person_can_withdraw_one_user_or_one_client_or_all(hand):
    alice, bob = hand.connect("alice"), hand.connect("bob")
    cli = hand.redeem(hand.code(client_id="sandbox-cli"), "sandbox-cli").json
    assert hand.sandbox.revoke(user="alice", client="sandbox-web") == 1
    assert hand.refresh(alice["refresh_token"]).error == "invalid_grant"
    assert hand.whoami(cli["access_token"]).status == 200
    assert hand.sandbox.grant_alive("bob")
    assert hand.sandbox.revoke() == 2
    assert hand.whoami(bob["access_token"]).status == 401
    assert not hand.sandbox.grant_alive("bob")


def test_time_passes_when_told_and_never_back(hand):
    token = hand.connect()["access_token"]
    hand.sandbox.advance(3599)
    assert hand.whoami(token).status == 200
    hand.sandbox.advance(1)
    assert hand.whoami(token).status == 401
    with pytest.raises(InvalidInput):
        hand.sandbox.advance(-1)


# ── the log ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_log_says_who_asked_for_what_and_what_became_of_it(hand):
    first = hand.connect()
    hand.refresh(first["refresh_token"])
    hand.refresh("made-up")
    hand.sandbox.fail_next()
    hand.refresh("made-up")
    hand.whoami(first["access_token"])
    told = [
        (line.endpoint, line.grant, line.client, line.user, line.status, line.outcome, line.fault)
        for line in hand.sandbox.log
    ]
    assert told[-5:] == [
        ("token", "authorization_code", "sandbox-web", "alice", 200, "ok", ""),
        ("token", "refresh_token", "sandbox-web", "alice", 200, "ok", ""),
        ("token", "refresh_token", "sandbox-web", "", 400, "invalid_grant", ""),
        ("token", "refresh_token", "", "", 503, "fault", "fail"),
        ("api", "", "sandbox-web", "alice", 200, "ok", ""),
    ]


def test_counts_are_by_grant_or_endpoint_and_by_outcome(hand):
    hand.connect()
    hand.refresh("made-up")
    hand.refresh("made-up")
    assert hand.sandbox.count("refresh_token") == hand.sandbox.count("refresh_token", "invalid_grant") == 2
    assert hand.sandbox.count("refresh_token", "ok") == 0
    assert hand.sandbox.count("token") == 3
    assert hand.sandbox.count("authorize", "login") == 1


def test_no_secret_stands_in_log_or_repr_or_access_log(opened, canary, capfd):
    said = []
    secret = canary.make("client_secret")
    hand = opened(client_secrets={"sandbox-web": secret}, access_log=said.append)
    code = canary.watch("code", hand.code())
    answer = hand.redeem(code).json
    canary.watch("access_token", answer["access_token"])
    canary.watch("refresh_token", answer["refresh_token"])
    hand.refresh(answer["refresh_token"])
    hand.refresh(answer["refresh_token"])
    hand.ask("GET", f"/api/whoami?access_token={answer['access_token']}")
    hand.ask("GET", f"/authorize?client_id={secret}&redirect_uri={secret}")
    hand.token(secret, secret=secret)
    hand.ask(
        "POST", "/token", f"grant_type={secret}&client_id={secret}", content_type="application/x-www-form-urlencoded"
    )
    sandbox, printed = hand.sandbox, capfd.readouterr()
    assert len(said) == len(sandbox.log) > 8
    realm = sandbox._desk.realm
    canary.assert_absent(
        repr(sandbox), repr(sandbox.log), repr(sandbox.clients), repr(realm), "\n".join(said), printed.out, printed.err
    )
    # Nor does any token stand in memory: they are filed under their hashes.
    shelves = [repr(vars(shelf)) for shelf in (realm.books.access, realm.books.refresh, realm.books.codes)]
    canary.assert_absent(*shelves)
    assert printed.out == printed.err == ""
