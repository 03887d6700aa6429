"""The command line as scripts that a stranger can read: every line is one that a person would type."""

from __future__ import annotations

import pytest

from clikit import MACHINE_SECRET, WEB_SECRET

pytestmark = pytest.mark.network


def test_from_an_empty_machine_to_a_token_and_back(valetkey, sandbox, browser, page):
    # A registration is kept; the vault is made with it.
    done = valetkey(
        "app", "add", "box", "--issuer", sandbox.url, "--client-id", "sandbox-web", "--secret-stdin", stdin=WEB_SECRET
    )
    assert done.code == 0
    assert "register exactly this redirect URI:  http://127.0.0.1/callback\n" in done.out
    assert "next: valetkey connect box/LABEL" in done.err

    # A person consents in the browser; the answer comes to a port of this machine.
    done = valetkey("connect", "box/alice", "--scope", "read write")
    assert done.code == 0, done.err
    assert "box/alice: connected\n" in done.out
    assert "asked for:  read write\n" in done.out
    assert "You can close this window" in page.read_text()

    # The token is printed and nothing else, and the provider's API takes it.
    token = valetkey("token", "box/alice")
    assert (token.code, token.err) == (0, "")
    assert token.out.startswith("sbx_at_")
    assert token.out.count("\n") == 1
    answer = valetkey("curl", "box/alice", "--", f"{sandbox.url}/api/whoami", "--silent")
    assert '"alice"' in answer.out

    # It is renewed when asked.
    assert valetkey("connection", "refresh", "box/alice").code == 0
    assert valetkey("token", "box/alice").out != token.out
    assert sandbox.count("refresh_token", "ok") == 1

    # Everything can be seen, and no secret is.
    listed = valetkey("connection", "list")
    assert listed.out.splitlines()[0].split() == ["NAME", "PROVIDER", "STATE", "EXPIRES", "RENEWS"]
    assert listed.out.splitlines()[1].split()[:3] == ["box/alice", "discovered", "active"]
    assert "1 connection: 1 active" in listed.out
    tail = valetkey("audit", "tail")
    assert [kind for kind in ("app.added", "connection.created", "refresh.finished") if kind not in tail.out] == []

    # It is revoked at the provider and forgotten, and so is the app.
    done = valetkey("connection", "rm", "box/alice")
    assert done.out == "box/alice: revoked at the provider, and forgotten\n"
    assert not sandbox.grant_alive("alice")
    assert valetkey("app", "rm", "box").code == 0
    assert valetkey("app", "list").err == "valetkey: no apps; `valetkey app add NAME PROVIDER` keeps one\n"


@pytest.mark.usefixtures("browser")
def test_no_secret_is_shown_logged_or_stored_in_the_clear(valetkey, inside, box, canary, home):
    canary.watch("web secret", WEB_SECRET)
    canary.watch("machine secret", MACHINE_SECRET)
    shown = [valetkey("connect", "box/alice"), inside("connect", "robot/one", "--grant", "client_credentials")]
    canary.watch("person's token", inside("token", "box/alice").out.strip())
    canary.watch("machine's token", inside("token", "robot/one").out.strip())
    for words in (
        ["connection", "show", "box/alice"],
        ["connection", "list"],
        ["app", "show", "box"],
        ["audit", "tail"],
    ):
        shown += [inside(*words), inside(*words, "--json")]
    shown.append(inside("connection", "refresh", "box/alice", "--json"))
    canary.assert_absent(*(done.out for done in shown), *(done.err for done in shown), home / "data")


def test_a_name_that_is_there_is_reconnected_and_keeps_its_name(valetkey, inside, box, browser):
    valetkey("connect", "box/alice")
    again = valetkey("connect", "box/alice", "--json")
    assert (again.code, again.json["reconnected"], again.json["state"]) == (0, True, "active")
    assert inside("connection", "list", "--count").out == "1 connection: 1 active\n"


def test_a_machine_is_connected_without_a_browser_and_says_what_was_granted(inside, box):
    done = inside("connect", "robot/one", "--grant", "client_credentials", "--scope", "read", "--json")
    assert done.code == 0, done.err
    assert (done.json["grant"], done.json["granted"], done.json["reconnected"]) == (
        "client_credentials",
        ["read"],
        False,
    )


def test_a_device_shows_a_code_and_waits_for_the_person(valetkey, box):
    with valetkey.start("connect", "box/tv", "--device") as process:
        lines = iter(process.stderr.readline, "")
        code = next(line.strip() for line in lines if len(line.strip()) == 9 and line.strip()[4] == "-")
        box.approve_device(code)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "box/tv: connected\n" in out


def test_without_a_browser_the_address_is_shown_and_the_answer_pasted(valetkey, box):
    with valetkey.start("connect", "box/alice", "--no-browser", "--json") as process:
        url = next(line.strip() for line in process.stderr if line.startswith("  http"))
        out, err = process.communicate(box.login(url) + "\n", timeout=60)
    assert process.returncode == 0, err
    assert '"state": "active"' in out


def test_json_gives_a_token_with_its_expiry_scopes_and_type(inside, robot):
    said = inside("token", "robot/one", "--json").json
    assert said["token"] == inside("token", "robot/one").out.strip()
    assert (said["type"], said["scopes"]) == ("Bearer", ["read"])
    assert said["expires_at"].endswith("+00:00")


def test_a_token_without_a_demanded_scope_is_not_given(inside, robot):
    done = inside("token", "robot/one", "--scope", "write", "--json")
    assert (done.code, done.error["code"], done.out) == (4, "insufficient_scope", "")
    assert "`valetkey connect robot/one --scope 'read write'`" in done.error["fix"]


def test_a_token_for_another_api_is_named_and_kept_apart(valetkey, inside, box, browser):
    assert valetkey("connect", "box/alice").code == 0
    own = inside("token", "box/alice").out
    other = inside("token", "box/alice", "--resource", "https://other.example.test").out
    assert other.startswith("sbx_at_")
    assert other != own
    assert inside("token", "box/alice", "--resource", "https://other.example.test").out == other
    assert inside("token", "box/alice").out == own
    assert "resource=https://other.example.test" in inside("connection", "show", "box/alice").out
    both = inside("token", "box/alice", "--resource", "https://x.test", "--audience", "y", "--json")
    assert (both.code, both.error["code"]) == (2, "invalid_input")
    none = inside("token", "box/alice", "--part", "user", "--json")
    assert (none.code, none.error["code"]) == (4, "not_connected")


def test_options_may_stand_before_the_noun_and_after_the_verb(inside, robot, home, monkeypatch):
    vault = str(home / "data" / "valetkey" / "vault.db")
    key = str(home / "data" / "valetkey" / "vault.key")
    monkeypatch.setenv("VALETKEY_VAULT", str(home / "nowhere.db"))
    token = inside("--vault", vault, "token", "robot/one")
    assert (token.code, token.out[:7]) == (0, "sbx_at_")
    for words in (
        ["token", "robot/one", "--vault", vault],
        ["token", f"--vault={vault}", "robot/one", "--key-file", key],
        ["--vault", vault, "token", "--scope", "read", "robot/one"],
    ):
        assert inside(*words).out == token.out
    assert inside("--json", "--vault", vault, "connection", "list").json[0]["name"] == "robot/one"


def test_connections_are_chosen_by_app_and_state_and_counted(inside, robot):
    inside("connect", "robot/two", "--grant", "client_credentials")
    assert [row["name"] for row in inside("connection", "list", "robot", "--json").json] == ["robot/one", "robot/two"]
    assert inside("connection", "list", "box", "--json").json == []
    assert inside("connection", "list", "--state", "revoked", "--json").json == []
    assert inside("connection", "list", "--count", "--json").json == {"active": 2}
    assert inside("connection", "list", "robot", "--count", "--json").json == {"active": 2}
    assert inside("connection", "list", "box", "--count", "--json").json == {}


def test_a_provider_that_cannot_be_told_is_asked_again_unless_forced(inside, robot):
    robot.fail_next(at="revoke")
    refused = inside("connection", "rm", "robot/one", "--json")
    assert (refused.code, refused.error["code"]) == (6, "provider_unavailable")
    assert inside("token", "robot/one").code == 0
    robot.fail_next(at="revoke")
    assert inside("connection", "rm", "robot/one", "--force", "--json").json["revocation"] == "failed"
    assert inside("token", "robot/one").code == 3
