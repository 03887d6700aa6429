"""Every event, from what happens to who hears of it: signed webhooks that a library nobody here wrote verifies, commands."""

from __future__ import annotations

import json

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

import valetkey
from hooks import receiver
from valetkey.errors import ClientRefused, NeedsReconnect
from valetkey.run import run
from valetkey.testing import Sandbox
from valetkey.values import Secret
from valetkey.vault import names
from valetkey.vault.appsecret import NewSecret
from valetkey.vault.notices import KINDS, Listener
from valetkey.vault.schedule import survey_soon
from valetkey.vault.webhook import new_secret
from vaultkit import crowd, sandbox_app

pytestmark = pytest.mark.network

SECRET = new_secret(bytes(range(32)))
DAY = 86_400.0


@pytest.fixture
def sandbox():
    with Sandbox(manner="rotating", access_lifetime=600) as running:
        yield running


@pytest.fixture
def vault(tmp_path, sandbox):
    with valetkey.open(tmp_path / "vault.db") as opened:
        opened.add_app(app(sandbox))
        yield opened


def app(sandbox, **changes):
    """Return the sandbox's app, whose catalogue entry says wrongly that refresh tokens are never replaced."""
    described = sandbox.provider()
    wrong = msgspec.structs.replace(described.refresh, rotates="never")
    described = msgspec.structs.replace(described, refresh=wrong)
    return msgspec.structs.replace(sandbox_app(sandbox), described=described, **changes)


def verified(got) -> list[dict[str, object]]:
    """Return what a receiver was sent, each verified as its documentation says a receiver should."""
    return [Webhook(SECRET.reveal()).verify(body, headers) for headers, body in got]


def go_wrong_and_right(vault, sandbox) -> None:
    """Let everything happen that there is to tell, one thing after the other, each told before the next."""
    (name,) = crowd(vault, sandbox, 1, expires_in=400)
    moment = vault._world.clock().timestamp()
    vault.add_app(app(sandbox, secret=Secret("wrong"), secret_expires_at=moment + 3 * DAY), replace=True)
    with pytest.raises(ClientRefused):
        vault.refresh(name)
    tell(vault)
    vault.add_app(app(sandbox, secret_expires_at=moment + 3 * DAY), replace=True)
    vault.refresh(name)
    tell(vault)
    run(survey_soon(vault._desk), vault._world)  # a day later: a refresh has shown that refresh tokens are replaced
    tell(vault)
    held = app(sandbox)
    vault.app_secret(held.name).stage(NewSecret(secret=sandbox.add_secret(held.client_id)))
    sandbox.end_secret(held.client_id, held.secret)
    vault.refresh(name)
    tell(vault)
    sandbox.revoke("user-00000")
    with pytest.raises(NeedsReconnect):
        vault.refresh(name)
    tell(vault)


def ends_soon(vault, name: str) -> None:
    """Let a connection's token end in five days, with nothing to renew it by."""
    record = names.connection_record(name)
    entry = vault._world.store.load(record)
    held = vault._desk.connection(name, entry)
    moment = vault._world.clock().timestamp()
    tokens = msgspec.structs.replace(held.tokens, refresh=None, obtained_at=moment, expires_at=moment + 5 * DAY)
    ended = msgspec.structs.replace(held, tokens=tokens, label="ending")
    record = names.connection_record(ended.name)
    assert vault._world.store.swap(record, 0, vault._desk.seal_connection(ended, moment))


def tell(vault) -> None:
    """Keep until there is nothing left to do or to tell."""
    while vault.keep(once=True).counts:
        pass


def test_every_event_reaches_a_webhook_that_an_independent_library_verifies_and_a_command(vault, sandbox, tmp_path):
    heard = tmp_path / "heard"
    crowd(vault, sandbox, 2, expires_in=400)
    ends_soon(vault, "sb/user-00001")
    for number in range(2):
        assert vault.disconnect(f"sb/user-{number:05}", force=True)
    with receiver() as (url, got):
        vault.add_listener(Listener(name="desk", created_at=0, url=url, secret=SECRET))
        vault.add_listener(Listener(name="script", created_at=0, command=("sh", "-c", f"cat >> {heard}")))
        go_wrong_and_right(vault, sandbox)
    told = verified(got)
    assert sorted({event["type"] for event in told}) == sorted(KINDS)
    assert len({headers["webhook-id"] for headers, _ in got}) == len(got), "each is told once"
    order = [event["type"] for event in told if event["type"] in KINDS[:3]]
    assert order == ["connection.failing", "connection.recovered", "connection.needs_reconnect"]
    lines = [json.loads(line) for line in heard.read_text().splitlines()]
    assert sorted(lines, key=str) == sorted(told, key=str)


@pytest.mark.parametrize("change", ["body", "webhook-id", "webhook-timestamp", "webhook-signature", "secret"])
def test_a_webhook_that_was_changed_on_the_way_is_refused_by_the_same_library(vault, change):
    with receiver() as (url, got):
        vault.add_listener(Listener(name="desk", created_at=0, url=url, secret=SECRET))
        assert vault.test_listener("desk").delivered
    ((headers, body),) = got
    secret = new_secret(bytes(32)) if change == "secret" else SECRET
    if change == "body":
        body = body.replace(b"desk", b"dusk")
    elif change in headers:
        old = headers[change]
        headers[change] = str(int(old) + 1) if change == "webhook-timestamp" else old[:-3] + "abc"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.reveal()).verify(body, headers)
