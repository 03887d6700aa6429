"""Changing a client secret while it is in use: on a strict sandbox that knows both, and by plans asked by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from valetkey.errors import AlreadyExists, ClientRefused, InvalidInput, KeyRefused, NotFound, ProviderUnavailable
from valetkey.jose import Key
from valetkey.library import AsyncVault
from valetkey.run import run
from valetkey.values import Secret
from valetkey.vault import rotation
from valetkey.vault.appsecret import NewSecret
from valetkey.vault.forecast import secret_forecast
from valetkey.vault.judge import Demand
from valetkey.vault.notices import Listener
from valetkey.vault.proofs import changed, plainly_refused, proof_of, turned, with_proof
from valetkey.vault.records import App
from valetkey.vault.renew import obtain
from valetkey.vault.schedule import survey_connection
from valetkey.vault.staged import ENDED_SECONDS, Proof, Staged, Tried
from vaultkit import START, a_connection, a_provider, an_app, connect, held, put, refusal, tokens_answer

DAY = 86_400.0
T0 = START.timestamp()


@pytest.fixture
def two(sandbox_vault):
    """Give a connected vault whose provider knows a second secret, staged; and both secrets."""
    vault, sandbox = sandbox_vault
    old = sandbox.clients["sandbox-web"].secret
    new = sandbox.add_secret("sandbox-web")
    vault.app_secret("sb").stage(NewSecret(secret=new))
    return vault, sandbox, old, new


@pytest.mark.network
def test_the_whole_way_and_back(two):
    vault, sandbox, old, new = two
    face = vault.app_secret("sb")
    shown = face.show()
    assert (shown.in_use.fingerprint, shown.other.fingerprint) == (old.fingerprint(), new.fingerprint())
    assert (shown.other.state, shown.other.tried_at) == ("staged", None)
    before = vault.token("sb/alice")
    tried = face.trial("sb/alice")
    assert (tried.other.tried_on, tried.other.refused) == ("sb/alice", "")
    assert vault.token("sb/alice") != before, "the trial was a refresh, and its token is kept"
    assert tried.in_use.fingerprint == old.fingerprint(), "and nothing else is changed by it"
    promoted = face.promote()
    assert (promoted.in_use.fingerprint, promoted.other.state) == (new.fingerprint(), "previous")
    sandbox.end_secret("sandbox-web", old)
    vault.refresh("sb/alice")
    assert sandbox.count("refresh_token", "invalid_client") == 0
    back = face.roll_back()
    assert (back.in_use.fingerprint, back.other.fingerprint, back.other.state) == (
        old.fingerprint(), new.fingerprint(), "staged")  # fmt: skip
    assert face.promote(untried=True).in_use.fingerprint == new.fingerprint()
    assert face.forget().other is None
    vault.refresh("sb/alice")
    assert sandbox.grant_alive("alice")


@pytest.mark.network
def test_a_trial_that_is_refused_changes_nothing(sandbox_vault, canary):
    vault, sandbox = sandbox_vault
    face = vault.app_secret("sb")
    face.stage(NewSecret(secret=Secret(canary.make("a secret the provider does not know"))))
    before = vault.connection("sb/alice")
    with pytest.raises(ClientRefused, match="goes on with the one in use") as caught:
        face.trial("sb/alice")
    canary.assert_absent(caught.value.explain(), str(caught.value.to_dict()))
    after = vault.connection("sb/alice")
    assert (after.state, after.trouble, after.refresh_fingerprint) == ("active", None, before.refresh_fingerprint)
    assert face.show().other.refused == "invalid_client"
    with pytest.raises(InvalidInput, match="refused when it was tried"):
        face.promote()
    vault.refresh("sb/alice")
    assert sandbox.count("refresh_token", "ok") == 1, "the refresh token was not spent by the trial"
    assert sandbox.grant_alive("alice")


@pytest.mark.network
def test_a_trial_whose_answer_is_lost_is_an_ordinary_doubt(two):
    vault, sandbox, _old, _new = two
    sandbox.drop_next_answer()
    with pytest.raises(ProviderUnavailable):
        vault.app_secret("sb").trial("sb/alice")
    record = "connection/sb/alice"
    kept = vault._desk.connection("sb/alice", vault._world.store.load(record))
    assert kept.intent.fate == "answer_lost"
    assert kept.trouble is None


@pytest.mark.network
def test_the_staged_secret_is_used_when_the_provider_ends_the_other_and_those_who_listen_are_told(two):
    vault, sandbox, old, new = two
    vault.add_listener(Listener(name="me", command=("true",), created_at=0))
    sandbox.end_secret("sandbox-web", old)
    assert vault.refresh("sb/alice")
    assert sandbox.count("refresh_token", "invalid_client") == 1
    assert sandbox.count("refresh_token", "ok") == 1
    shown = vault.app_secret("sb").show()
    assert (shown.in_use.fingerprint, shown.other.fingerprint) == (new.fingerprint(), old.fingerprint())
    assert (shown.other.state, shown.other.refused) == ("previous", "invalid_client")
    vault.refresh("sb/alice")
    assert sandbox.count("refresh_token", "invalid_client") == 1, "it is turned to once, not at each refresh"
    assert len(vault._world.store.names("notice/", "", 9)) == 1
    assert "secret.turned_over" in [line.kind for line in vault.events()]


@pytest.mark.network
def test_the_previous_secret_is_used_when_the_promoted_one_is_refused(two):
    vault, sandbox, old, new = two
    vault.app_secret("sb").promote(untried=True)
    sandbox.end_secret("sandbox-web", new)
    assert vault.refresh("sb/alice")
    assert vault.app_secret("sb").show().in_use.fingerprint == old.fingerprint()


@pytest.mark.network
def test_both_refused_is_said_and_the_grant_is_whole(two):
    vault, sandbox, old, new = two
    sandbox.end_secret("sandbox-web", old)
    sandbox.end_secret("sandbox-web", new)
    with pytest.raises(ClientRefused, match="neither the secret in use nor the staged one"):
        vault.refresh("sb/alice")
    assert sandbox.count("refresh_token", "invalid_client") == 2
    assert vault.connection("sb/alice").state == "failing"
    assert sandbox.grant_alive("alice")


@pytest.mark.network
def test_a_person_who_logs_in_meanwhile_is_connected_with_the_staged_secret(two):
    vault, sandbox, old, _new = two
    sandbox.end_secret("sandbox-web", old)
    assert connect(vault, sandbox, "sb/bob").state == "active"


@pytest.mark.network
def test_coroutines_have_the_same(two):
    vault, _sandbox, _old, new = two

    async def rotate():
        face = AsyncVault(vault).app_secret("sb")
        await face.trial("sb/alice")
        await face.promote()
        await face.roll_back()
        shown = await face.show()
        await face.forget()
        await face.stage(NewSecret(secret=new))
        return shown

    assert asyncio.run(rotate()).other.fingerprint == new.fingerprint()


# ── plans, asked by hand ──────────────────────────────────────────────────────────────────────────────────────


def answering(*answers):
    """Return a provider that gives these answers in turn, and the secrets it was sent."""
    sent, left = [], list(answers)

    def provider(request):
        form = dict(pair.split("=") for pair in request.body.decode().split("&"))
        sent.append((form["client_secret"], form.get("refresh_token")))
        return left.pop(0)

    return provider, sent


def staged_app(**changes):
    proof = Proof(secret=Secret("the-next-secret"), since=T0)
    return an_app(secret=Secret("the-old-secret"), staged=Staged(proof=proof), **changes)


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ((refusal("invalid_client", 401), tokens_answer()), 2),
        ((refusal("invalid_client", 401), refusal("invalid_client", 401), tokens_answer()), 2),
        ((refusal("unauthorized_client"), tokens_answer()), 1),  # about the registration, not the secret
        ((refusal("unauthorized_client", 401), tokens_answer()), 2),  # Keycloak's word for a wrong secret
        ((refusal("who_knows", 401), tokens_answer()), 1),
        ((refusal("invalid_grant"), tokens_answer()), 1),
        ((refusal("temporarily_unavailable", 503), tokens_answer()), 1),
    ],
)
def test_the_other_is_asked_once_and_only_where_the_client_was_plainly_refused(desk, world, answers, asked):
    # RFC 6749 section 5.2: invalid_client says that the grant was not looked at. A bare 401 does not.
    put(desk, world, staged_app(), a_connection())
    world.provider, sent = answering(*answers)
    with pytest.raises(Exception) if asked == 1 or len(answers) == 3 else _nothing():  # any refusal
        run(obtain(desk, "acme/alice", Demand(force=True)), world)
    assert [secret for secret, _ in sent] == ["the-old-secret", "the-next-secret"][:asked]
    assert {token for _, token in sent} == {"refresh-1"}


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_the_answer_is_safe_before_the_secrets_change_places(desk, world):
    put(desk, world, staged_app(), a_connection())
    world.provider, _ = answering(refusal("invalid_client", 401), tokens_answer())
    seen = []
    world.before = lambda question: seen.append((type(question).__name__, getattr(question, "name", "")))
    run(obtain(desk, "acme/alice", Demand(force=True)), world)
    assert seen.index(("Swap", "app/acme")) > max(
        n for n, one in enumerate(seen) if one == ("Swap", "connection/acme/alice")
    )


def test_who_comes_late_sends_nothing_more(desk, world):
    put(desk, world, staged_app(), a_connection())
    world.provider, sent = answering(refusal("invalid_client", 401))
    world.before = lambda question: world.advance(20) if type(question).__name__ == "Send" else None
    with pytest.raises(ClientRefused):
        run(obtain(desk, "acme/alice", Demand(force=True)), world)
    assert len(sent) == 1, "too little of the lease was left"
    assert held(desk, world).intent is None


def test_an_ended_secret_is_not_tried_and_forgotten_by_the_survey(desk, world):
    app = turned(staged_app(secret_expires_at=T0 - ENDED_SECONDS))
    put(desk, world, app, a_connection())
    world.provider, sent = answering(refusal("invalid_client", 401))
    with pytest.raises(ClientRefused):
        run(obtain(desk, "acme/alice", Demand(force=True)), world)
    assert len(sent) == 1
    run(survey_connection(desk, "connection/acme/alice", {}), world)
    assert desk.app("acme", world.store.load("app/acme")).staged is None


def drive(desk, world, plan):
    return run(plan, world)


def test_there_is_room_for_two_and_no_more(desk, world):
    put(desk, world, staged_app())
    new = Proof(secret=Secret("a-third-secret"))
    with pytest.raises(AlreadyExists, match="still has a staged one"):
        run(rotation.stage(desk, "acme", new), world)
    run(rotation.promote(desk, "acme", untried=True, old_ends=T0 + 7 * DAY), world)
    with pytest.raises(AlreadyExists, match="still has the previous one"):
        run(rotation.stage(desk, "acme", new), world)
    world.advance(8 * DAY + 1)
    app = run(rotation.stage(desk, "acme", new), world)
    assert app.staged.proof.secret == Secret("a-third-secret"), "the previous one had ended"
    assert app.secret == Secret("the-next-secret")


def test_what_cannot_be_staged_is_said(desk, world):
    put(desk, world, an_app(secret=Secret("the-old-secret")))
    with pytest.raises(InvalidInput, match="uses this secret already"):
        run(rotation.stage(desk, "acme", Proof(secret=Secret("the-old-secret"))), world)
    with pytest.raises(InvalidInput, match="would have ended"):
        run(rotation.stage(desk, "acme", Proof(secret=Secret("x" * 20), expires_at=T0 - 1)), world)
    with pytest.raises(InvalidInput, match="one thing"):
        run(rotation.stage(desk, "acme", Proof()), world)
    with pytest.raises(KeyRefused):
        run(rotation.stage(desk, "acme", Proof(private_key=Secret("no key"))), world)
    for plan in (rotation.promote(desk, "acme"), rotation.roll_back(desk, "acme"), rotation.forget(desk, "acme"),
                 rotation.trial(desk, "acme", "acme/alice")):  # fmt: skip
        with pytest.raises(NotFound):
            run(plan, world)
    with pytest.raises(InvalidInput, match="no time zone"):
        NewSecret(secret=Secret("x"), expires_at=datetime(2027, 1, 1)).proof()  # noqa: DTZ001  # that is the mistake


def test_an_untried_secret_is_not_promoted_unless_that_is_said(desk, world):
    put(desk, world, staged_app())
    with pytest.raises(InvalidInput, match="was not tried"):
        run(rotation.promote(desk, "acme"), world)
    assert run(rotation.promote(desk, "acme", untried=True), world).secret == Secret("the-next-secret")


def test_a_trial_is_of_a_connection_of_the_app(desk, world):
    put(desk, world, staged_app())
    with pytest.raises(InvalidInput, match="no connection of acme"):
        run(rotation.trial(desk, "acme", "other/alice"), world)


def test_a_key_instead_of_a_secret_changes_the_method_and_back(desk, world):
    key = Secret(Key.generate("ES256").to_pem(private=True)) if hasattr(Key, "to_pem") else None
    provider = a_provider()
    app = an_app()
    given = Proof(private_key=key or Secret("pem"), key_alg="ES256", key_id="k1")
    proof = changed(app, given, provider)
    assert (proof.method, proof.key_alg, proof.key_id) == ("private_key_jwt", "ES256", "k1")
    moved = turned(msgspec.structs.replace(app, staged=Staged(proof=proof)))
    assert (moved.token_auth, moved.staged.role) == ("private_key_jwt", "previous")
    assert turned(moved).token_auth == app.token_auth
    by_key = an_app(secret=None, private_key=Secret("pem"), token_auth="private_key_jwt")
    assert changed(by_key, Proof(secret=Secret("s")), a_provider()).method == ""


def test_an_app_given_its_own_proof_is_the_same():
    app = an_app(secret_expires_at=T0 + DAY, key_alg="RS256")
    assert with_proof(app, proof_of(app)) == msgspec.structs.replace(app, secret_since=app.created_at)


def test_a_bare_401_is_no_plain_refusal():
    assert plainly_refused(ClientRefused("no"))
    assert not plainly_refused(ClientRefused("no", inferred=True))


def test_replacing_an_app_does_not_lose_what_is_staged(desk, world):
    from valetkey.vault.registry import add_app

    put(desk, world, staged_app())
    run(add_app(desk, an_app(scopes=("x",)), replace=True), world)
    assert desk.app("acme", world.store.load("app/acme")).staged.proof.secret == Secret("the-next-secret")


def test_forecasts_know_both_ends():
    ends = (T0 + 10 * DAY, T0 + 5 * DAY)
    staged = Staged(proof=Proof(secret=Secret("n"), expires_at=ends[1]))
    first, second = secret_forecast(an_app(secret_expires_at=ends[0], staged=staged))
    assert (first.when.timestamp(), second.when.timestamp()) == ends
    assert "promote acme" in first.fix
    assert "not used yet" in second.what
    previous = msgspec.structs.replace(staged, role="previous")
    assert len(secret_forecast(an_app(secret_expires_at=ends[0], staged=previous))) == 1


def test_an_app_written_before_there_was_staging_reads_as_before(desk):
    # The members are left out where they say nothing, so an older valetkey reads what this one writes, and back.
    assert b"staged" not in desk.sealer.open("app/acme", desk.seal_app(an_app()).box)
    assert App(name="a", provider="p", client_id="c", created_at=0).staged is None


def test_what_is_shown_holds_no_secret(desk, world, canary):
    from valetkey.vault.appsecret import info

    secrets = [Secret(canary.make(name)) for name in ("in use", "staged")]
    tried = Tried(at=T0, on="acme/alice", code="invalid_client")
    app = an_app(secret=secrets[0], staged=Staged(proof=Proof(secret=secrets[1]), tried=tried))
    canary.assert_absent(repr(app), repr(info(app)), str(info(app).to_dict()), repr(app.staged))
    assert timedelta(0) == info(app).other.tried_at - datetime.fromtimestamp(T0, UTC)
