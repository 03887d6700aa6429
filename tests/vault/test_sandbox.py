"""Connecting to a server that answers: what it refuses, what it loses, and what is left of it in the vault."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest

import valetkey
from valetkey.errors import (
    BadAnswer,
    CallbackRefused,
    ClientRefused,
    ConsentDenied,
    GrantRefused,
    InvalidInput,
    NeedsReconnect,
    NotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRefused,
    ValetkeyError,
)
from valetkey.testing import Sandbox
from valetkey.transport.sync import Transport
from valetkey.values import Secret
from valetkey.vault import world
from valetkey.vault.connect import Wish
from valetkey.vault.views import ConnectionInfo
from vaultkit import connect, expire, sandbox_app

pytestmark = pytest.mark.network

CALLBACK = "http://127.0.0.1:7777/callback"


class Login:
    """A link that was made, and the address the browser was sent back to."""

    def __init__(self, vault, sandbox, name="sb/bob", user="bob", *, allow=True):
        self.vault, self.binding = vault, Secret(os.urandom(16).hex())
        self.started = vault.begin(name, redirect_uri=CALLBACK, binding=self.binding)
        self.answer = sandbox.login(self.started.url, user=user, allow=allow)

    def changed(self, **changes):
        parts = urlsplit(self.answer)
        told = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
        query = urlencode({name: value for name, value in told.items() if value is not None})
        return parts._replace(query=query).geturl()

    def part(self, name):
        return parse_qs(urlsplit(self.answer).query)[name][0]

    def finish(self, answer=None):
        return self.vault.finish(answer or self.answer, binding=self.binding)


@pytest.fixture
def no_waiting(monkeypatch):
    """Let the plans' waits take no time."""
    monkeypatch.setattr(world, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def impatient(monkeypatch):
    """Give no server longer than half a second."""
    send = Transport.send
    monkeypatch.setattr(Transport, "send", lambda self, request: send(self, replace(request, timeout=0.5)))


def test_a_person_is_connected_and_the_api_knows_her(sandbox_vault):
    vault, sandbox = sandbox_vault
    made = Login(vault, sandbox).finish()
    assert isinstance(made, ConnectionInfo)
    assert (made.name, made.state, made.renewable) == ("sb/bob", "active", True)
    assert sandbox.grant_alive("bob")
    assert made.hosts == (urlsplit(sandbox.url).netloc,)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": None}, "state_missing"),
        ({"state": "x" * 43}, "state_unknown"),
        ({"iss": None}, "issuer_missing"),
        ({"iss": "https://evil.test"}, "issuer_mismatch"),
        ({"code": None}, "code_missing"),
    ],
)
def test_an_answer_that_was_changed_on_the_way_is_not_redeemed(sandbox_vault, changes, code):
    vault, sandbox = sandbox_vault
    login, before = Login(vault, sandbox), sandbox.count("authorization_code")
    with pytest.raises(CallbackRefused) as caught:
        login.finish(login.changed(**changes))
    assert caught.value.code == code
    assert sandbox.count("authorization_code") == before
    with pytest.raises(NotFound):
        vault.token("sb/bob")


def test_a_wrong_code_is_refused_by_the_server(sandbox_vault):
    vault, sandbox = sandbox_vault
    login = Login(vault, sandbox)
    with pytest.raises(GrantRefused) as caught:
        login.finish(login.changed(code="not-the-code-that-was-given"))
    assert caught.value.code == "invalid_grant"
    with pytest.raises(NotFound):
        vault.token("sb/bob")


def test_a_code_that_was_stolen_does_not_fit_another_link(sandbox_vault):
    # Code injection (RFC 9700 section 4.5): the verifier of the victim's link does not belong to the attacker's code.
    vault, sandbox = sandbox_vault
    victim, attacker = Login(vault, sandbox), Login(vault, sandbox, "sb/mallory", "mallory")
    with pytest.raises(GrantRefused):
        victim.finish(victim.changed(code=attacker.part("code")))
    with pytest.raises(NotFound):
        vault.token("sb/bob")


def test_a_code_that_is_replayed_is_not_even_sent(sandbox_vault):
    vault, sandbox = sandbox_vault
    login = Login(vault, sandbox)
    login.finish()
    sent = sandbox.count("authorization_code")
    with pytest.raises(CallbackRefused) as caught:
        login.finish()
    assert caught.value.code == "state_used"
    assert sandbox.count("authorization_code") == sent
    assert sandbox.grant_alive("bob"), "the replay did not end the grant"


def test_of_two_threads_that_finish_at_once_one_does(sandbox_vault):
    vault, sandbox = sandbox_vault
    login, begin, ends = Login(vault, sandbox), threading.Barrier(2), []

    def finish():
        begin.wait()
        try:
            ends.append(login.finish().state)
        except ValetkeyError as refusal:
            ends.append(refusal.code)

    threads = [threading.Thread(target=finish) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["active", "state_used"]
    assert sandbox.grant_alive("bob")


def test_denied_consent_is_told_as_such(sandbox_vault):
    vault, sandbox = sandbox_vault
    with pytest.raises(ConsentDenied):
        Login(vault, sandbox, allow=False).finish()


def test_a_wrong_redirect_uri_is_shown_to_the_person_by_the_server(sandbox_vault):
    vault, sandbox = sandbox_vault
    started = vault.begin("sb/bob", redirect_uri="https://elsewhere.test/callback", binding=Secret("mine"))
    with pytest.raises(RequestRefused) as caught:
        sandbox.login(started.url)
    assert caught.value.code == "redirect_uri_mismatch"


def test_a_wrong_client_secret_is_our_configuration(sandbox_vault):
    vault, sandbox = sandbox_vault
    login = Login(vault, sandbox)
    vault.add_app(msgspec.structs.replace(sandbox_app(sandbox), secret=Secret("a wrong secret")), replace=True)
    with pytest.raises(ClientRefused) as caught:
        login.finish()
    assert caught.value.code == "invalid_client"
    assert caught.value.fix


FAULTS = [
    ("down", lambda sandbox: sandbox.stop(), ProviderUnavailable, False),
    ("slow", lambda sandbox: sandbox.slow_next(3.0), ProviderTimeout, True),
    ("cut", lambda sandbox: sandbox.drop_next_answer(), ProviderUnavailable, True),
    ("busy", lambda sandbox: sandbox.fail_next(), ProviderUnavailable, True),
    ("html", lambda sandbox: sandbox.html_next(), BadAnswer, None),
]


@pytest.mark.parametrize("row", FAULTS, ids=[row[0] for row in FAULTS])
def test_a_server_in_trouble_leaves_the_connection_that_was_there_alone(sandbox_vault, impatient, row):
    vault, sandbox = sandbox_vault
    _, fault, kind, sent = row
    before = vault.connection("sb/alice")
    login = Login(vault, sandbox, "sb/alice", "alice")
    fault(sandbox)
    with pytest.raises(kind) as caught:
        login.finish()
    assert caught.value.fix
    if sent is not None:
        assert caught.value.sent is sent
    assert vault.connection("sb/alice") == before
    with pytest.raises(CallbackRefused):
        login.finish()


def test_reconnecting_after_the_grant_ended_keeps_the_name_and_works(sandbox_vault):
    vault, sandbox = sandbox_vault
    born = vault.connection("sb/alice").created_at
    sandbox.revoke("alice")
    expire(vault, "sb/alice")
    with pytest.raises(NeedsReconnect):
        vault.token("sb/alice")
    assert vault.connection("sb/alice").state == "needs_reconnect"
    connect(vault, sandbox, "sb/alice")
    after = vault.connection("sb/alice")
    assert (after.state, after.created_at, after.refreshes) == ("active", born, 1)
    expire(vault, "sb/alice")
    assert vault.token("sb/alice").reveal()


def test_a_machine_logs_in_by_its_secret(sandbox_vault):
    vault, sandbox = sandbox_vault
    vault.add_app(sandbox_app(sandbox, "sandbox-machine", "ci"))
    made = vault.connect_machine("ci/build", "client_credentials", wish=Wish(scopes=("read",)))
    assert (made.state, made.grant, list(made.granted)) == ("active", "client_credentials", ["read"])
    expire(vault, "ci/build")
    vault.token("ci/build")
    assert sandbox.count("client_credentials", "ok") == 2


def jwt_app(sandbox, **changes):
    key = sandbox.clients["sandbox-machine"].key
    pem = Secret(key.to_pem(private=True).decode())
    app = sandbox_app(sandbox, "sandbox-machine", "robot")
    return msgspec.structs.replace(app, secret=None, token_auth="none", private_key=pem, key_alg="ES256", **changes)


def test_a_machine_logs_in_by_a_signed_assertion_and_signs_a_new_one_each_time(sandbox_vault):
    vault, sandbox = sandbox_vault
    vault.add_app(jwt_app(sandbox))
    made = vault.connect_machine("robot/erin", "jwt_bearer", wish=Wish(subject="erin", scopes=("read",)))
    assert (made.state, made.grant, made.renewable) == ("active", "jwt_bearer", True)
    assert sandbox.grant_alive("erin")
    expire(vault, "robot/erin")
    vault.token("robot/erin")  # the sandbox takes an assertion once: this one is new
    assert sandbox.count("jwt_bearer", "ok") == 2


def test_an_assertion_for_another_server_is_refused(sandbox_vault):
    vault, sandbox = sandbox_vault
    vault.add_app(jwt_app(sandbox, audience="https://elsewhere.test/token"))
    with pytest.raises(GrantRefused):
        vault.connect_machine("robot/erin", "jwt_bearer", wish=Wish(subject="erin"))
    with pytest.raises(InvalidInput):
        vault.connect_machine("sb/erin", "jwt_bearer", wish=Wish(subject="erin"))


def test_a_device_is_connected_when_the_person_has_typed_the_code(sandbox_vault, no_waiting):
    vault, sandbox = sandbox_vault
    started = vault.begin_device("sb/tv", wish=Wish(scopes=("read",)))
    sandbox.approve_device(started.shown.user_code, user="carol")
    made = vault.finish_device(started)
    assert (made.state, made.grant, list(made.granted)) == ("active", "device_code", ["read"])
    assert sandbox.grant_alive("carol")
    expire(vault, "sb/tv")
    assert vault.token("sb/tv").reveal()


def test_a_device_whose_person_declines_is_not_connected(sandbox_vault, no_waiting):
    vault, sandbox = sandbox_vault
    started = vault.begin_device("sb/tv")
    sandbox.approve_device(started.shown.user_code, allow=False)
    with pytest.raises(ConsentDenied):
        vault.finish_device(started)
    with pytest.raises(NotFound):
        vault.connection("sb/tv")


def test_a_device_keeps_its_connection_where_offline_access_must_be_asked_for(tmp_path, no_waiting):
    with Sandbox(manner="offline_access") as sandbox, valetkey.open(tmp_path / "v.db") as vault:
        vault.add_app(sandbox_app(sandbox))
        started = vault.begin_device("sb/tv", wish=Wish(scopes=("read",)))
        sandbox.approve_device(started.shown.user_code)
        assert vault.finish_device(started).renewable


def test_disconnecting_ends_the_grant_at_the_server(sandbox_vault):
    vault, sandbox = sandbox_vault
    assert vault.disconnect("sb/alice") == "revoked"
    assert not sandbox.grant_alive("alice")
    with pytest.raises(NotFound):
        vault.token("sb/alice")


def test_disconnecting_while_the_server_is_down_forgets_nothing_unless_forced(sandbox_vault):
    vault, sandbox = sandbox_vault
    sandbox.stop()
    with pytest.raises(ProviderUnavailable):
        vault.disconnect("sb/alice")
    assert vault.connection("sb/alice").state == "active"
    assert vault.disconnect("sb/alice", force=True) == "failed"
    with pytest.raises(NotFound):
        vault.connection("sb/alice")
