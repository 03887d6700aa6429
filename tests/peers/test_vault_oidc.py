"""The vault against npm oidc-provider: every grant through its real pages, and the race it is the judge of."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from killing import KILLS, Provider, kill_at_random, publish

import valetkey
from racing import run_race
from valetkey.errors import CallbackRefused, ClientRefused, ConsentDenied, GrantRefused, InvalidInput, NeedsReconnect
from valetkey.oauth.authentication import client_auth
from valetkey.oauth.client import Client, Stamp
from valetkey.oauth.discovery import discovery_requests, read_discovery
from valetkey.oauth.introspection import introspection_request, read_introspection
from valetkey.providers.loader import overridden
from valetkey.transport.sync import Transport
from valetkey.values import Secret
from valetkey.vault.appsecret import NewSecret
from valetkey.vault.connect import Wish
from valetkey.vault.records import App
from vaultkit import expire

CALLBACK = "http://127.0.0.1:5999/cb"
SCOPES = ("openid", "offline_access", "api:read")


@pytest.fixture(scope="module")
def provider_of():
    """Return a discoverer: the server's own metadata, read by us, is the description the vault works with."""
    transport = Transport()

    def discover(oidc):
        for request in discovery_requests(oidc.issuer):
            response = transport.send(request)
            if response.status == 200:
                found = read_discovery(oidc.issuer, response)
                return overridden(found, {"asking.authorize_params": {"prompt": "consent"}})
        return pytest.fail("no metadata")

    yield discover
    transport.close()


@pytest.fixture
def vault(tmp_path):
    with valetkey.open(tmp_path / "vault.db") as opened:
        yield opened


def app_of(oidc, provider, client_id: str, **more: object) -> App:
    client = oidc.clients[client_id]
    secret = Secret(client.secret) if client.secret else None
    facts = {"name": "op", "provider": "discovered", "client_id": client.id, "created_at": 0, "secret": secret}
    return App(**{**facts, "described": provider, "token_auth": client.method, **more})


def connect(vault, browser, name: str = "op/alice") -> None:
    binding = Secret(os.urandom(16).hex())
    started = vault.begin(name, redirect_uri=CALLBACK, binding=binding, wish=Wish(scopes=SCOPES))
    vault.finish(browser.allow(started.url, CALLBACK), binding=binding)


def active(oidc, provider, client_id: str, token: str) -> bool:
    """Ask the server whether a token is good (RFC 7662), with our own request and reader."""
    kept = oidc.clients[client_id]
    client = Client(provider, kept.id, client_auth(kept.method, Secret(kept.secret) if kept.secret else None, None))
    from datetime import UTC, datetime

    request = introspection_request(client, Secret(token), stamp=Stamp(datetime.now(UTC), os.urandom(8).hex()))
    transport = Transport()
    try:
        return read_introspection(client, transport.send(request)).active
    finally:
        transport.close()


@pytest.mark.parametrize("client_id", ["web", "web-post", "web-static", "cli"])
def test_a_person_consents_and_the_connection_stays_fresh(oidc, provider_of, vault, browser, client_id):
    provider = provider_of(oidc)
    vault.add_app(app_of(oidc, provider, client_id))
    connect(vault, browser)
    first = vault.token("op/alice")
    assert active(oidc, provider, client_id, first.reveal())
    second = vault.refresh("op/alice")
    third = vault.refresh("op/alice")
    assert len({first.reveal(), second.reveal(), third.reveal()}) == 3
    assert active(oidc, provider, client_id, third.reveal())
    info = vault.connection("op/alice")
    assert info.state == "active"
    assert info.rotates is (client_id != "web-static")
    assert set(SCOPES) <= set(info.granted)


@pytest.mark.parametrize("client_id", ["m2m", "m2m-post", "m2m odd:id", "m2m-rsa", "m2m-ec", "m2m-hmac"])
@pytest.mark.parametrize("resource", [(), ("https://api.example.test/rs256",)])
def test_a_machine_logs_in_by_every_method(oidc, provider_of, vault, client_id, resource):
    import json

    provider = provider_of(oidc)
    client = oidc.clients[client_id]
    key = Secret(json.dumps(client.key)) if client.key else None
    vault.add_app(app_of(oidc, provider, client_id, private_key=key, key_alg=client.key.get("alg", "")))
    vault.connect_machine("op/job", "client_credentials", wish=Wish(scopes=("api:read",), resource=resource))
    token = vault.token("op/job")
    assert token.reveal().count(".") == (2 if resource else 0), "a JWT where a resource is named, else opaque"
    assert vault.refresh("op/job").reveal() != token.reveal()


def test_a_person_types_a_code_on_another_device(oidc, provider_of, vault, browser):
    provider = provider_of(oidc)
    vault.add_app(app_of(oidc, provider, "cli"))
    started = vault.begin_device("op/alice", wish=Wish(scopes=SCOPES))
    assert started.shown.interval == 5, "this server names no interval, so it is RFC 8628's five seconds"
    done = threading.Thread(target=vault.finish_device, args=(started,))
    done.start()
    browser.approve_device(started.shown.verification_uri, started.shown.user_code)
    done.join(60)
    assert active(oidc, provider, "cli", vault.token("op/alice").reveal())
    assert vault.refresh("op/alice").reveal()


def test_disconnecting_ends_the_grant_at_the_server(oidc, provider_of, vault, browser):
    provider = provider_of(oidc)
    vault.add_app(app_of(oidc, provider, "web"))
    connect(vault, browser)
    token = vault.token("op/alice").reveal()
    assert active(oidc, provider, "web", token)
    assert vault.disconnect("op/alice") == "revoked"
    assert not active(oidc, provider, "web", token)
    assert list(vault.connections()) == []


OLD, NEW = "web-changing-secret", "the-next-secret-of-web-changing"


@pytest.fixture
def changing(oidc, provider_of, vault, browser):
    """Give alice and bob connections of a client whose secret is about to be changed; the server takes both."""
    vault.add_app(app_of(oidc, provider_of(oidc), "web-changing"))
    oidc.take("web-changing", OLD)
    connect(vault, browser)
    connect(vault, browser, "op/bob")
    oidc.take("web-changing", OLD, NEW)
    return vault.app_secret("op")


def test_a_clients_secret_is_changed_without_an_outage_and_back(oidc, vault, changing):
    changing.stage(NewSecret(secret=Secret(NEW)))
    assert changing.trial("op/alice").other.refused == ""
    vault.refresh("op/bob")  # still with the old one
    assert changing.promote().in_use.fingerprint == Secret(NEW).fingerprint()
    oidc.take("web-changing", NEW)
    for name in ("op/alice", "op/bob"):
        assert vault.refresh(name).reveal()
    assert vault.app_secret("op").show().other.state == "previous", "nobody had to turn to it"
    oidc.take("web-changing", OLD)  # the provider takes the change back
    assert changing.roll_back().in_use.fingerprint == Secret(OLD).fingerprint()
    for name in ("op/alice", "op/bob"):
        assert vault.refresh(name).reveal()
        assert vault.connection(name).state == "active", "this server kills the grant of a refresh token used twice"


def test_a_trial_of_a_secret_the_server_does_not_take_spends_nothing(oidc, vault, changing):
    changing.stage(NewSecret(secret=Secret("of-another-client-altogether")))
    with pytest.raises(ClientRefused, match="goes on with the one in use"):
        changing.trial("op/alice")
    with pytest.raises(InvalidInput, match="refused when it was tried"):
        changing.promote()
    assert vault.refresh("op/alice").reveal()


def test_an_old_secret_that_ends_without_notice_costs_one_refused_request(oidc, vault, changing):
    changing.stage(NewSecret(secret=Secret(NEW)))
    oidc.take("web-changing", NEW)
    before = oidc.log.read_text().count("invalid_client")
    assert vault.refresh("op/alice").reveal()
    assert vault.refresh("op/bob").reveal()
    assert oidc.log.read_text().count("invalid_client") == before + 1
    shown = changing.show()
    assert (shown.in_use.fingerprint, shown.other.refused) == (Secret(NEW).fingerprint(), "invalid_client")


def test_a_denied_consent_is_called_so_and_the_link_is_used_up(oidc, provider_of, vault, browser):
    vault.add_app(app_of(oidc, provider_of(oidc), "web"))
    binding = Secret("b" * 32)
    started = vault.begin("op/alice", redirect_uri=CALLBACK, binding=binding, wish=Wish(scopes=SCOPES))
    answer = browser.deny(started.url, CALLBACK)
    with pytest.raises(ConsentDenied):
        vault.finish(answer, binding=binding)
    with pytest.raises(CallbackRefused) as again:
        vault.finish(answer, binding=binding)
    assert again.value.code == "state_used"


def test_an_answer_of_another_issuer_is_refused(oidc, provider_of, vault, browser):
    vault.add_app(app_of(oidc, provider_of(oidc), "web"))
    binding = Secret("b" * 32)
    for change, code in (("iss=http%3A%2F%2F127.0.0.1%3A1", "issuer_mismatch"), ("", "issuer_missing")):
        started = vault.begin("op/alice", redirect_uri=CALLBACK, binding=binding, wish=Wish(scopes=SCOPES))
        answer = browser.allow(started.url, CALLBACK)
        head, _, tail = answer.partition("iss=")
        forged = head + change + tail[tail.index("&") :] if "&" in tail else head + change
        with pytest.raises(CallbackRefused) as refused:
            vault.finish(forged, binding=binding)
        assert refused.value.code == code


def test_a_wrong_client_secret_is_told_from_a_dead_grant(oidc, provider_of, vault, browser):
    provider = provider_of(oidc)
    vault.add_app(app_of(oidc, provider, "web"))
    connect(vault, browser)
    vault.add_app(app_of(oidc, provider, "web", secret=Secret("wrong")), replace=True)
    with pytest.raises(ClientRefused):
        vault.refresh("op/alice")
    assert vault.connection("op/alice").state == "failing"
    vault.add_app(app_of(oidc, provider, "web"), replace=True)
    assert active(oidc, provider, "web", vault.refresh("op/alice").reveal()), "the grant was not burnt"


def test_a_wrong_redirect_uri_is_refused_by_the_server(oidc, provider_of, vault, browser):
    vault.add_app(app_of(oidc, provider_of(oidc), "web-exact"))
    started = vault.begin(
        "op/alice", redirect_uri="http://127.0.0.1:5998/cb", binding=Secret("b" * 32), wish=Wish(scopes=SCOPES)
    )
    page = browser.open(started.url)
    assert page.status_code == 400
    assert "redirect_uri" in page.text


def test_reuse_by_a_stranger_kills_the_grant_and_we_say_so(oidc, provider_of, vault, browser, tmp_path):
    """Another holder of the same refresh token spends it: what a copied vault does."""
    import shutil

    provider = provider_of(oidc)
    vault.add_app(app_of(oidc, provider, "web"))
    connect(vault, browser)
    vault._world.store.close()
    (tmp_path / "copy").mkdir()
    for file in tmp_path.glob("vault.*"):
        if file.is_file():
            shutil.copy2(file, tmp_path / "copy")
    with valetkey.open(tmp_path / "copy" / "vault.db") as copy:
        copy.refresh("op/alice")
        with pytest.raises(NeedsReconnect) as ours:
            vault.refresh("op/alice")
        assert ours.value.reason == "invalid_grant"
        with pytest.raises((NeedsReconnect, GrantRefused)):
            copy.refresh("op/alice")
    connect(vault, browser)
    assert vault.connection("op/alice").state == "active", "reconnecting keeps the name and clears the trouble"


def race(oidc, provider, browser, place, *, rounds: int, **size: int) -> None:
    """Let everybody ask for one expired token at once; the server kills the grant when it is refreshed twice."""
    with valetkey.open(place) as vault:
        vault.add_app(app_of(oidc, provider, "web"))
        connect(vault, browser)
        granted = oidc.log.read_text().count("grant.success refresh_token web\n")
        handed_out = run_race(place, "op/alice", rounds=rounds, each_round=lambda: expire(vault, "op/alice"), **size)
        assert [len(tokens) for tokens in handed_out] == [1] * rounds, handed_out
        assert len(set.union(*handed_out)) == rounds
        assert oidc.log.read_text().count("grant.success refresh_token web\n") - granted == rounds
        assert vault.connection("op/alice").refreshes == rounds
        assert active(oidc, provider, "web", vault.refresh("op/alice").reveal()), "the grant lives"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_eight_processes_and_two_event_loops_refresh_once_a_round(oidc, provider_of, browser, tmp_path):
    """8 processes x 8 threads and two async vaults on one SQLite file."""
    race(oidc, provider_of(oidc), browser, tmp_path / "vault.db", processes=8, threads=8, loops=2, rounds=20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_four_processes_and_two_event_loops_refresh_once_a_round_on_postgresql(oidc, provider_of, browser, postgres):
    """4 processes x 16 threads and two async vaults on one PostgreSQL."""
    race(oidc, provider_of(oidc), browser, postgres, processes=4, threads=16, loops=2, rounds=20)


def test_an_async_caller_that_leaves_does_not_take_the_refresh_with_it(oidc, provider_of, browser, tmp_path):
    provider = provider_of(oidc)
    path = tmp_path / "vault.db"
    with valetkey.open(path) as vault:
        vault.add_app(app_of(oidc, provider, "web"))
        connect(vault, browser)
        before = vault.connection("op/alice")
        expire(vault, "op/alice")

        other = valetkey.open_async(path)

        async def impatient() -> None:
            task = asyncio.create_task(other.token("op/alice"))
            while not any(  # noqa: ASYNC110  # what we wait for happens in the store, not in this loop
                line.kind == "refresh.started" for line in await asyncio.to_thread(vault.events)
            ):
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The loop ends here, in mid-refresh; the vault is not closed either.

        asyncio.run(impatient())
        for thread in threading.enumerate():
            if thread.name == "valetkey":
                thread.join(30)
        other.sync.close()
        vault._opened.clear()
        after = vault.connection("op/alice")
        assert after.refreshes == before.refreshes + 1
        assert after.refresh_fingerprint != before.refresh_fingerprint
        assert active(oidc, provider, "web", vault.refresh("op/alice").reveal()), "the rotated token was kept"


@pytest.mark.slow
@pytest.mark.timeout(60 + 10 * KILLS)
def test_kill_9_loses_a_grant_only_between_the_answer_and_its_save(oidc, provider_of, browser, tmp_path):
    provider = provider_of(oidc)

    def consent(vault) -> None:
        vault.add_app(app_of(oidc, provider, "web"), replace=True)
        connect(vault, browser)

    def answered() -> int:
        return oidc.log.read_text().count("grant.success refresh_token web\n")

    judge = Provider(consent, answered, strict=True)
    report = kill_at_random(tmp_path / "vault.db", "op/alice", judge, KILLS, seed=2)
    publish("oidc-provider, rotating, reuse ends the grant", report)
    assert report.violations == []
