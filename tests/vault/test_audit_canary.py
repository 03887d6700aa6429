"""A whole story with secrets that can be searched for: none is in a line, its copy in a file, the spool or an export."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

import valetkey
from hooks import receiver
from valetkey import tokens
from valetkey.audit.kinds import KINDS
from valetkey.audit.who import acting
from valetkey.cli import running
from valetkey.errors import ValetkeyError
from valetkey.testing import Sandbox
from valetkey.transport.sync import Transport
from valetkey.values import Secret
from valetkey.vault import world
from valetkey.vault.appsecret import NewSecret
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.kit import written
from valetkey.vault.notices import Listener
from valetkey.vault.quick import quick_token
from valetkey.vault.webhook import new_secret
from vaultkit import expire, sandbox_app

pytestmark = pytest.mark.network

SENT = {"client_secret", "code", "code_verifier", "refresh_token", "device_code", "assertion", "token"}
GIVEN = {"access_token", "refresh_token", "device_code"}


class Story:
    """Everything that leaves a line, with every secret watched."""

    def __init__(self, vault, sandbox, canary, folder):
        self.vault, self.sandbox, self.canary, self.folder = vault, sandbox, canary, folder

    def refused(self, work):
        with contextlib.suppress(ValetkeyError):
            work()
            pytest.fail("this was to be refused")

    def connects(self, name="sb/alice", **choices):
        binding = Secret(self.canary.make("binding"))
        started = self.vault.begin(name, redirect_uri="http://127.0.0.1:7777/callback", binding=binding)
        self.canary.watch("state", parse_qs(urlsplit(started.url).query)["state"][0])
        answer = self.sandbox.login(started.url, user=name.split("/")[1], **choices)
        for code in parse_qs(urlsplit(answer).query).get("code", []):
            self.canary.watch("code", code)
        return lambda: self.vault.finish(answer, binding=binding)

    def obtains(self):
        self.connects()()
        self.connects()()
        self.refused(self.connects("sb/bob", allow=False))
        device = self.vault.begin_device("sb/tv")
        self.sandbox.approve_device(device.shown.user_code)
        self.vault.finish_device(device)
        with acting("api:billing", request="r-1"):
            self.vault.token("sb/alice")
        self.vault.refresh("sb/alice")
        self.sandbox.fail_next()
        self.refused(lambda: self.vault.refresh("sb/alice"))
        self.refused(lambda: self.vault.token("sb/nobody"))

    def injects(self):
        with httpx.Client(transport=self.vault.transport("sb/alice")) as client:
            assert client.get(f"{self.sandbox.url}/api/whoami").status_code == 200
            with receiver() as (url, _):
                client.get(url)
                client.post(url, content=b"x", headers={"Authorization": f"Bearer {self.canary.make('own token')}"})

    def changes_secrets(self):
        new = self.sandbox.add_secret("sandbox-web")
        self.canary.watch("new client secret", new.reveal())
        face = self.vault.app_secret("sb")
        face.stage(NewSecret(secret=new))
        face.trial("sb/alice")
        face.promote()
        face.roll_back()
        old = self.sandbox.clients["sandbox-web"].secret
        self.sandbox.end_secret("sandbox-web", old)
        self.vault.refresh("sb/alice")
        face.forget()

    def publishes_and_tells(self):
        place = f"file:{self.folder / 'published'}"
        publisher = self.vault.publisher()
        publisher.add("sb/alice", place)
        publisher.remove("sb/alice", place)
        hook = new_secret(os.urandom(32))
        self.canary.watch("webhook secret", hook.reveal())
        with receiver() as (url, _):
            self.vault.add_listener(Listener(name="desk", created_at=0, url=url, secret=hook))
            assert self.vault.test_listener("desk").delivered
            self.sandbox.revoke("alice")
            expire(self.vault, "sb/alice")
            self.vault.keep(once=True)
            self.vault.keep(once=True)
        self.vault.remove_listener("desk")

    def signs(self):
        key = tokens.Key.generate("ES256")
        token = self.vault.issued(tokens.sign(key, issuer="https://a.example", audience="b", subject="alice"))
        for one in (token, token[:-4]):
            self.canary.watch("signature of a token", one.rpartition(".")[2])
        self.canary.watch("private key", key.to_pem(private=True).decode().split("\n")[1])
        verifier = self.vault.verifier(tokens.Policy(issuer="https://a.example", audience="b"), key.public())
        verifier.verify(token)
        self.refused(lambda: verifier.verify(token[:-4]))

    def asks_the_short_way(self):
        self.connects("sb/carol")()
        place, key = str(self.folder / "vault.db"), str(self.folder / "vault.key")
        assert quick_token("sb/carol", place, key) == self.vault.token("sb/carol").reveal()

    def ends(self):
        self.vault.disconnect("sb/tv")
        self.vault.disconnect("sb/carol")
        self.vault.disconnect("sb/alice", force=True)
        self.refused(lambda: self.vault.add_app(sandbox_app(self.sandbox)))
        self.vault.add_app(sandbox_app(self.sandbox), replace=True)
        self.vault.remove_app("sb")


@pytest.fixture
def story(tmp_path, canary, monkeypatch):
    monkeypatch.setattr(world, "time", SimpleNamespace(sleep=lambda _: None))
    send = Transport.send

    def watched(transport, request):
        for name, values in parse_qs(request.body.decode("utf-8", "replace")).items():
            if name in SENT and len(values[0]) >= 16:
                canary.watch(f"{name} sent", values[0])
        response = send(transport, request)
        with contextlib.suppress(msgspec.DecodeError):
            told = msgspec.json.decode(response.body)
            for name in GIVEN & set(told if isinstance(told, dict) else ()):
                canary.watch(f"{name} given", told[name])
        return response

    monkeypatch.setattr(Transport, "send", watched)
    given = {client: canary.make(f"secret of {client}") for client in ("sandbox-web", "sandbox-machine")}
    with (
        Sandbox(manner="rotating", access_lifetime=600, client_secrets=given) as sandbox,
        valetkey.open(tmp_path / "vault.db", audit_log=tmp_path / "audit.jsonl") as vault,
    ):
        vault.add_app(sandbox_app(sandbox))
        yield Story(vault, sandbox, canary, tmp_path)


def test_no_secret_is_in_the_audit_log_of_a_whole_story(story, canary, tmp_path, capsys):
    vault = story.vault
    story.obtains()
    story.injects()
    story.changes_secrets()
    story.publishes_and_tells()
    story.signs()
    story.asks_the_short_way()
    spool = tmp_path / "vault.spool"
    assert spool.stat().st_size > 100
    canary.assert_absent(spool)
    story.ends()
    assert running.run(["vault", "kit", "--vault", str(tmp_path / "vault.db"), "--out", str(tmp_path / "kit")]) == 0
    key = KeyFile.read(str(tmp_path / "vault.key"))
    canary.watch("the vault's key", key.line().split()[1])
    for line in written(key, b"8 bytes!", world.datetime.now(world.UTC)).splitlines():
        if len(word := line.split(" ")[-1]) >= 16:
            canary.watch("a line of the kit", word)
    lines = vault.events(10_000)
    told = {line.kind for line in lines}
    assert told <= set(KINDS)
    seldom = {"audit.garbled", "audit.lost", "jwks.private_key_published", "secret.resolved", "secret.unresolved"}
    assert {kind for kind in KINDS if not kind.startswith("vault.") and kind not in seldom} - told == NOT_IN_THE_STORY
    exported = [json.dumps(line.to_chained_dict()) for line in lines]
    copied = (tmp_path / "audit.jsonl").read_text()
    assert len(copied.splitlines()) >= len(lines) - 2, "the kit's lines are another process's"
    capsys.readouterr()
    assert running.run(["audit", "tail", "-n", "10000", "--json", "--vault", str(tmp_path / "vault.db")]) == 0
    names = {name.split(" of ")[0] for name in canary.secrets.values()}
    assert names >= {
        "secret",
        "state",
        "code sent",
        "binding",
        "access_token given",
        "refresh_token given",
        "own token",
    }
    canary.assert_absent(*exported, repr(lines), copied, capsys.readouterr().out)
    with contextlib.closing(sqlite3.connect(tmp_path / "vault.db")) as reader:
        rows = reader.execute("SELECT * FROM audit").fetchall()
    assert len(rows) >= len(lines)
    canary.assert_absent(repr(rows))


NOT_IN_THE_STORY = {
    *("refresh.recovered", "notice.failed", "notice.given_up", "connection.revoke", "connection.revoked"),
    *("audit.prune_started", "audit.pruned", "operator.entered", "operator.refused"),
}
"""Each has a test of its own, and tells nothing that the others do not tell."""
