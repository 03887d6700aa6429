"""A whole life with secrets that can be searched for: they stand nowhere but in the sealed boxes and where they belong."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import sqlite3
import traceback
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

import valetkey
from valetkey.errors import StoreUnavailable, ValetkeyError
from valetkey.testing import Sandbox
from valetkey.transport.sync import Transport
from valetkey.values import Secret
from valetkey.vault import world
from valetkey.vault.connect import Wish
from valetkey.vault.records import App, Connection, Pending
from valetkey.vault.stores.sqlite import SqliteStore
from vaultkit import expire, sandbox_app

pytestmark = pytest.mark.network

CALLBACK = "http://127.0.0.1:7777/callback"


class Life:
    """Everything that happens to one vault, with every secret watched and everything shown collected."""

    def __init__(self, vault, sandbox, canary, monkeypatch):
        self.vault, self.sandbox, self.canary, self.monkeypatch = vault, sandbox, canary, monkeypatch
        self.shown: list[str] = []
        self.refusals: list[ValetkeyError] = []
        self._watch_the_wire()

    def _watch_the_wire(self):
        """Learn every secret that goes over the wire, by the names RFC 6749, 7636, 8628 and 7523 give them."""
        send = Transport.send
        secret = {"client_secret", "code", "code_verifier", "refresh_token", "device_code", "assertion", "token"}
        given = {"access_token", "refresh_token", "device_code"}

        def watched(transport, request):
            self.show(request)
            for name, values in parse_qs(request.body.decode()).items():
                if name in secret and len(values[0]) >= 16:
                    self.canary.watch(f"{name} sent", values[0])
            response = send(transport, replace(request, timeout=2.0))
            self.show(response)
            with contextlib.suppress(msgspec.DecodeError):
                told = msgspec.json.decode(response.body)
                for name in given & set(told):
                    if len(told[name]) >= 16:
                        self.canary.watch(f"{name} given", told[name])
            return response

        self.monkeypatch.setattr(Transport, "send", watched)

    def show(self, *things):
        for thing in things:
            self.shown += [repr(thing), str(thing), f"{thing}"]

    def refused(self, work):
        """Do what is refused, and collect all that can be seen of the refusal."""
        try:
            work()
        except ValetkeyError as refusal:
            self.refusals.append(refusal)
            self.show(refusal, refusal.args, refusal.evidence, refusal.to_dict(), vars(refusal))
            self.shown += [refusal.explain(), repr(pickle.dumps(refusal)), *traceback.format_exception(refusal)]
        else:
            pytest.fail("this was to be refused")

    def person(self, work):
        """Do what a person does in her browser, whose log is not ours: the link is hers to see."""
        logging.disable(logging.CRITICAL)
        try:
            return work()
        finally:
            logging.disable(logging.NOTSET)

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────

    def login(self, name, **choices):
        binding = Secret(self.canary.make("binding"))
        started = self.vault.begin(name, redirect_uri=CALLBACK, binding=binding, wish=Wish(scopes=("read",)))
        self.canary.watch("state", parse_qs(urlsplit(started.url).query)["state"][0])
        answer = self.person(lambda: self.sandbox.login(started.url, user=name.split("/")[1], **choices))
        for code in parse_qs(urlsplit(answer).query).get("code", []):
            self.canary.watch("code", code)
        self.show(started)
        return answer, binding

    def connect(self, name):
        answer, binding = self.login(name)
        self.show(self.vault.finish(answer, binding=binding))
        return answer, binding

    def connects(self):
        answer, binding = self.connect("sb/alice")
        self.refused(lambda: self.vault.finish(answer, binding=binding))
        denied = self.login("sb/bob", allow=False)
        self.refused(lambda: self.vault.finish(denied[0], binding=denied[1]))
        other = self.login("sb/bob")
        self.refused(lambda: self.vault.finish(other[0], binding=Secret(self.canary.make("binding"))))
        changed = other[0].replace("iss=", "iss=x")
        self.refused(lambda: self.vault.finish(changed, binding=other[1]))
        self.show(self.vault.connect_machine("ci/build", "client_credentials", wish=Wish(scopes=("read",))))
        self.show(self.vault.connect_machine("robot/erin", "jwt_bearer", wish=Wish(subject="erin")))
        device = self.vault.begin_device("sb/tv")
        self.show(device, device.shown)
        self.person(lambda: self.sandbox.approve_device(device.shown.user_code))
        self.show(self.vault.finish_device(device))

    def refreshes(self):
        first = self.vault.token("sb/alice")
        self.show(first, self.vault.refresh("sb/alice"), self.vault.credential("sb/alice"))
        self.show(self.vault.renewed("sb/alice", first), self.vault.token("ci/build"))
        for fault in (self.sandbox.html_next, self.sandbox.fail_next, self.sandbox.drop_next_answer):
            fault()
            self.refused(lambda: self.vault.refresh("sb/tv"))

    def fails(self):
        wrong = Secret(self.canary.make("wrong client secret"))
        right = sandbox_app(self.sandbox)
        self.vault.add_app(msgspec.structs.replace(right, secret=wrong), replace=True)
        self.refused(lambda: self.vault.refresh("sb/alice"))
        answer, binding = self.login("sb/carol")
        self.refused(lambda: self.vault.finish(answer, binding=binding))
        bad_key = Secret(self.canary.make("bad key"))
        app = msgspec.structs.replace(right, name="bad", private_key=bad_key, token_auth="private_key_jwt")
        self.refused(lambda: self.vault.add_app(app))
        self.vault.add_app(right, replace=True)
        self.sandbox.html_next(status=400)
        answer, binding = self.login("sb/carol")
        self.refused(lambda: self.vault.finish(answer, binding=binding))
        self.sandbox.revoke("alice")
        self.refused(lambda: self.vault.refresh("sb/alice"))

    def spills(self):
        """Renew while the store is down: the new tokens wait, sealed, in a file."""
        self.connect("sb/dora")
        store, sent = self.vault._world.store, self.sandbox.count("refresh_token")
        swap = SqliteStore.swap

        def down(self_, name, seen, entry):
            if self.sandbox.count("refresh_token") > sent:
                raise StoreUnavailable("the disk is full")
            return swap(self_, name, seen, entry)

        with self.monkeypatch.context() as full:
            full.setattr(SqliteStore, "swap", down)
            self.show(self.vault.refresh("sb/dora"), store)

    def shows(self):
        self.show(self.vault, *self.vault.connections(), *self.vault.apps(), *self.vault.events(1000))
        for info in (*self.vault.connections(), *self.vault.apps()):
            self.shown.append(repr(info.to_dict()))
        self.shown += [repr(line.to_dict()) for line in self.vault.events(1000)]
        # Whatever of ours is alive may be shown by a debugger or an error tracker.
        for thing in gc.get_objects():
            if isinstance(thing, App | Connection | Pending | Secret):
                self.shown.append(repr(thing))


@pytest.fixture
def life(tmp_path, canary, monkeypatch):
    monkeypatch.setattr(world, "time", SimpleNamespace(sleep=lambda _: None))
    given = {client: canary.make(f"secret of {client}") for client in ("sandbox-web", "sandbox-machine")}
    with (
        Sandbox(manner="rotating", access_lifetime=600, client_secrets=given) as sandbox,
        valetkey.open(tmp_path / "vault.db") as vault,
    ):
        pem = sandbox.clients["sandbox-machine"].key.to_pem(private=True).decode()
        canary.watch("private key", pem.split("\n")[1])
        vault.add_app(sandbox_app(sandbox))
        vault.add_app(sandbox_app(sandbox, "sandbox-machine", "ci"))
        robot = sandbox_app(sandbox, "sandbox-machine", "robot")
        robot = msgspec.structs.replace(robot, private_key=Secret(pem), key_alg="ES256", secret=None, token_auth="none")
        vault.add_app(robot)
        yield Life(vault, sandbox, canary, monkeypatch)


def test_no_secret_stands_in_what_can_be_seen_of_a_whole_life(life, canary, caplog, tmp_path, capfd):
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, logger=name)
    life.connects()
    life.refreshes()
    life.fails()
    life.spills()
    life.shows()
    names = {name.split(" of ")[0] for name in canary.secrets.values()}
    assert names >= {
        "secret", "private key", "state", "code", "code_verifier sent", "access_token given", "refresh_token given",
        "device_code sent", "assertion sent", "binding", "wrong client secret", "bad key",
    }  # fmt: skip
    assert len(life.refusals) >= 11
    assert [path.name for path in (tmp_path / "vault.spill").iterdir()] != [], "a spilled token is searched too"
    files = {path.name: path for path in tmp_path.iterdir() if path.is_file()}
    assert {"vault.db", "vault.db-wal", "vault.db-shm", "vault.key"} <= set(files)
    canary.assert_absent("\n".join(life.shown), caplog.text, *files.values(), tmp_path / "vault.spill")
    canary.assert_absent("".join(repr(vars(record)) for record in caplog.records))
    told = capfd.readouterr()
    canary.assert_absent(told.out + told.err)
    with contextlib.closing(sqlite3.connect(files["vault.db"])) as reader:
        dump = "\n".join(reader.iterdump())
    assert "connection/sb/alice" in dump
    canary.assert_absent(dump, *_hex_boxes(dump))


def _hex_boxes(dump):
    """Return what the dump writes as X'…' as the bytes it stands for."""
    return [bytes.fromhex(part.split("'")[0]) for part in dump.split("X'")[1:]]


def test_a_secret_that_stood_there_would_be_found(canary, tmp_path):
    # The search itself, on each of the places it is used for.
    secret = canary.make("planted")
    with sqlite3.connect(tmp_path / "v.db") as store:
        store.execute("CREATE TABLE t (a)")
        store.execute("INSERT INTO t VALUES (?)", (secret,))
    store.close()
    for place in (
        f"Token({secret})",
        secret.encode().hex(),
        tmp_path / "v.db",
        Path(tmp_path),
        b"\0" + secret.encode(),
    ):
        assert canary.found_in(place) == ["planted"]
    assert canary.found_in(os.urandom(100)) == []


def test_no_secret_is_given_to_another_process(life):
    """Nothing is started by the vault, and its secrets are not in this process's arguments or environment."""
    life.connect("sb/alice")
    arguments = Path("/proc/self/cmdline").read_bytes() if Path("/proc/self/cmdline").exists() else b""
    environment = repr(dict(os.environ))
    life.canary.assert_absent(arguments, environment)


def test_expired_links_and_used_ones_hold_no_verifier(life, tmp_path):
    answer, binding = life.login("sb/alice")
    store = life.vault._world.store
    (name,) = store.names("pending/", "", 10)
    desk = life.vault._desk
    assert desk.pending(name, store.load(name)).verifier is not None
    life.vault.finish(answer, binding=binding)
    after = desk.pending(name, store.load(name))
    assert (after.verifier, after.state) == (None, Secret(""))
    expire(life.vault, "sb/alice")
