"""The audit log: which lines each flow leaves, who is named in them, and that nothing in them is secret."""

from __future__ import annotations

import getpass
import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

import valetkey
from valetkey.audit.line import Line
from valetkey.effects import Event
from valetkey.errors import ValetkeyError
from valetkey.transport.sync import Transport
from valetkey.values import Secret
from valetkey.vault import auditing, world
from valetkey.vault.appsecret import NewSecret
from vaultkit import connect, expire, lines_of, sandbox_app

pytestmark = pytest.mark.network

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def test_a_line_is_an_event_with_its_time_and_who_did_it():
    event = Event("refresh.failed", "acme/alice", "failed", "invalid_grant", {"attempt": "a1"})
    line = Line.of(event, AT, "cli:alice")
    assert line.to_dict() == {
        "at": "2026-03-01T12:00:00.123+00:00",
        "kind": "refresh.failed",
        "subject": "acme/alice",
        "outcome": "failed",
        "actor": "cli:alice",
        "reason": "invalid_grant",
        "detail": {"attempt": "a1"},
    }
    json.dumps(line.to_dict())


def test_a_line_without_reason_and_detail_shows_neither():
    assert set(Line(AT, "cli:a", "app.added", "acme").to_dict()) == {"at", "kind", "subject", "outcome", "actor"}


def told(vault, after=0):
    """Return what was noted: what is told beside it (tokens handed out or refused) comes when it comes."""
    lines = [line for line in lines_of(vault._world.store) if not line.kind.startswith("token.")][after:]
    return [(line.kind, line.subject, line.outcome, line.reason) for line in lines]


def test_every_flow_leaves_its_lines(sandbox_vault, monkeypatch):
    vault, sandbox = sandbox_vault
    monkeypatch.setattr(world, "time", SimpleNamespace(sleep=lambda _: None))
    assert told(vault) == [
        ("app.added", "sb", "ok", ""),
        ("connect.started", "sb/alice", "ok", ""),
        ("connection.created", "sb/alice", "ok", ""),
    ]

    def lines_of(work):
        before = len(told(vault))
        try:
            work()
        except ValetkeyError as refusal:
            assert refusal.code  # noqa: PT017  # the lines are what is looked at
        return told(vault, before)

    assert lines_of(lambda: vault.token("sb/alice")) == []
    assert lines_of(lambda: vault.refresh("sb/alice")) == [
        ("refresh.started", "sb/alice", "unknown", ""),
        ("refresh.finished", "sb/alice", "ok", ""),
    ]
    sandbox.fail_next()
    assert lines_of(lambda: vault.refresh("sb/alice")) == [
        ("refresh.started", "sb/alice", "unknown", ""),
        ("refresh.failed", "sb/alice", "failed", "provider_unavailable"),
    ]
    sandbox.revoke("alice")
    expire(vault, "sb/alice")
    assert lines_of(lambda: vault.refresh("sb/alice"))[1:] == [
        ("refresh.failed", "sb/alice", "failed", "invalid_grant")
    ]
    assert lines_of(lambda: connect(vault, sandbox, "sb/alice")) == [
        ("connect.started", "sb/alice", "ok", ""),
        ("connection.reconnected", "sb/alice", "ok", ""),
    ]
    assert lines_of(lambda: vault.connect_machine("sb/ci", "client_credentials")) == [
        ("connect.started", "sb/ci", "ok", ""),
        ("connect.refused", "sb/ci", "refused", "unauthorized_client"),
    ]

    def declined():
        device = vault.begin_device("sb/tv")
        sandbox.approve_device(device.shown.user_code, allow=False)
        vault.finish_device(device)

    assert lines_of(declined) == [
        ("connect.started", "sb/tv", "ok", ""),
        ("connect.refused", "sb/tv", "refused", "access_denied"),
    ]
    sandbox.fail_next(at="revoke")
    assert lines_of(lambda: vault.disconnect("sb/alice")) == [
        ("connection.revoke", "sb/alice", "failed", "provider_unavailable")
    ]
    assert lines_of(lambda: vault.disconnect("sb/alice")) == [("connection.removed", "sb/alice", "ok", "revoked")]
    assert lines_of(lambda: vault.add_app(sandbox_app(sandbox), replace=True)) == [("app.replaced", "sb", "ok", "")]
    assert lines_of(lambda: vault.remove_app("sb")) == [("app.removed", "sb", "ok", "")]


def test_a_refused_answer_leaves_a_line_with_the_check_that_failed(sandbox_vault):
    vault, sandbox = sandbox_vault
    started = vault.begin("sb/bob", redirect_uri="http://127.0.0.1:7/callback", binding=Secret("mine"))
    answer = sandbox.login(started.url)
    with pytest.raises(ValetkeyError):
        vault.finish(answer, binding=Secret("not mine"))
    assert told(vault)[-1] == ("connect.refused", "sb/bob", "refused", "state_not_yours")


def test_a_refresh_is_told_by_fingerprints_and_never_by_tokens(sandbox_vault):
    vault, _ = sandbox_vault
    before = vault.connection("sb/alice").refresh_fingerprint
    token = vault.refresh("sb/alice")
    started, finished = [line for line in vault.events() if line.kind.startswith("refresh.")]
    assert started.detail["refresh_token"] == before
    assert started.detail["attempt"]
    assert finished.detail == {"rotated": "yes"}
    assert token.reveal() not in repr(vault.events(1000))


def test_lines_are_there_when_the_vault_is_opened_again(sandbox_vault, tmp_path):
    vault, _ = sandbox_vault
    before = vault.events(100)
    with valetkey.open(tmp_path / "vault.db") as again:
        assert again.events(100) == before


def test_a_line_names_the_face_and_the_user(tmp_path, sandbox_vault):
    _, sandbox = sandbox_vault
    with valetkey.open(tmp_path / "other.db", actor="cli") as vault:
        vault.add_app(sandbox_app(sandbox))
        assert vault.events(1)[0].actor == f"cli:{getpass.getuser()}"


def test_who_runs_it_is_told_by_the_user_id_and_not_by_what_the_environment_says(monkeypatch):
    pwd = pytest.importorskip("pwd")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert auditing.user() == pwd.getpwuid(os.getuid()).pw_name


def test_a_machine_without_user_names_has_numbers(monkeypatch):
    pwd = pytest.importorskip("pwd")

    def nobody(_):
        raise KeyError("uid")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert auditing.user() == str(os.getuid())


def test_a_line_that_cannot_be_written_stops_what_must_not_happen_unseen(sandbox_vault, monkeypatch):
    vault, sandbox = sandbox_vault
    before = sandbox.count("refresh_token")
    store = vault._world.store

    def full(*_):
        raise valetkey.errors.StoreUnavailable("the disk is full")

    with monkeypatch.context() as down:
        down.setattr(store.ledger, "append", full)
        with pytest.raises(valetkey.errors.StoreUnavailable):
            vault.refresh("sb/alice")
    assert sandbox.count("refresh_token") == before
    assert vault.refresh("sb/alice").reveal()
    assert msgspec.json.encode([line.to_dict() for line in vault.events()])


def _trial(vault, sandbox):
    vault.app_secret("sb").trial("sb/alice")


OBTAINING = {
    "renewing": lambda vault, _: vault.refresh("sb/alice"),
    "a token that has ended": lambda vault, _: vault.token("sb/alice"),
    "another target": lambda vault, _: vault.token("sb/alice", resource="https://api.example"),
    "a link": lambda vault, _: vault.begin("sb/new", redirect_uri="http://127.0.0.1:7/cb", binding=Secret("b" * 20)),
    "a device": lambda vault, _: vault.begin_device("sb/tv"),
    "a machine": lambda vault, _: vault.connect_machine("ci/one", "client_credentials"),
    "a trial": _trial,
    "the schedule": lambda vault, _: vault.keep(once=True),
}


@pytest.mark.parametrize("way", OBTAINING)
def test_with_a_log_that_cannot_be_written_nothing_is_obtained(sandbox_vault, monkeypatch, way):
    """The guarantee of docs/audit.md: what announces a request for a token is durable before the request is sent."""
    vault, sandbox = sandbox_vault
    monkeypatch.setattr(world, "time", SimpleNamespace(sleep=lambda _: None))
    vault.add_app(sandbox_app(sandbox, "sandbox-machine", "ci"))
    vault.app_secret("sb").stage(NewSecret(secret=sandbox.add_secret("sandbox-web")))
    expire(vault, "sb/alice")
    sent = []
    send = Transport.send
    monkeypatch.setattr(Transport, "send", lambda self, request: sent.append(request) or send(self, request))

    def full(*_):
        raise valetkey.errors.StoreUnavailable("the disk is full")

    with monkeypatch.context() as down:
        down.setattr(type(vault._world.store.ledger), "append", full)
        try:
            OBTAINING[way](vault, sandbox)
        except valetkey.errors.StoreUnavailable:
            failed = True
        else:
            failed = way == "the schedule"  # which writes down that it could not, and goes on
    assert failed
    assert sent == []
    OBTAINING[way](vault, sandbox)
    assert sent or way == "a link", "with a log that can be written it is obtained: the test would see it"
