"""The refresh as a conversation: what it asks the world, in which order, and what every answer leads to."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.effects import Load, Luck, Note, Now, Send, Sleep, Spill, Swap
from valetkey.errors import (
    ClientRefused,
    NeedsReconnect,
    NotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRefused,
    StoreUnavailable,
    ValetkeyError,
)
from valetkey.values import Response, Secret
from valetkey.vault.judge import Demand
from valetkey.vault.records import Intent, Lease
from valetkey.vault.recover import recover
from valetkey.vault.renew import LEASE_SECONDS, SEND_SECONDS, obtain
from valetkey.vault.saving import SAVE_DELAYS
from vaultkit import START, FakeWorld, a_connection, a_provider, an_app, drive, held, put, refusal, tokens_answer

ANY = Demand()
T0 = START.timestamp()
RECORD = "connection/acme/alice"


def ready(desk, provider_answers, **connection):
    """Return a world with an expired connection and a provider that gives these answers, in turn."""
    answers = iter(provider_answers)
    requests = []

    def provider(request):
        requests.append({name: values[0] for name, values in parse_qs(request.body.decode()).items()})
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world = FakeWorld(provider)
    world.requests = requests
    put(desk, world, an_app(), a_connection(**{"expires_in": 60.0, **connection}))
    world.advance(61)
    return world


def test_a_refresh_claims_tells_the_log_sends_and_saves_in_this_order(desk):
    world = ready(desk, [tokens_answer()])
    served = drive(obtain(desk, "acme/alice", ANY), world)
    assert served.token.reveal() == "access-2"
    swaps_and_sends = [asked for asked in world.asked if asked in {"Swap", "Send", "Note"}]
    assert swaps_and_sends == ["Swap", "Note", "Send", "Swap", "Note"]
    assert world.notes == [("refresh.started", "unknown", ""), ("refresh.finished", "ok", "")]
    assert world.requests == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-1",
            "client_id": "client-1",
            "client_secret": "a-client-secret-that-nobody-may-see",
        }
    ]


def test_the_request_may_not_take_longer_than_the_lease(desk):
    world = ready(desk, [tokens_answer()])
    sent = []
    world.before = lambda question: sent.append(question) if isinstance(question, Send) else None
    drive(obtain(desk, "acme/alice", ANY), world)
    assert sent[0].request.timeout <= SEND_SECONDS < LEASE_SECONDS


def test_while_the_request_is_under_way_lease_and_intent_stand_in_the_store(desk):
    world = ready(desk, [tokens_answer()])
    seen = []
    world.before = lambda question: seen.append(held(desk, world)) if isinstance(question, Send) else None
    drive(obtain(desk, "acme/alice", ANY), world)
    assert seen[0].lease.until == T0 + 61 + LEASE_SECONDS
    assert seen[0].intent.fingerprint == Secret("refresh-1").fingerprint()
    after = held(desk, world)
    assert (after.lease, after.intent, after.trouble) == (None, None, None)
    assert after.generation == 2
    assert after.rotates is True


def test_a_refresh_token_that_does_not_come_back_is_kept(desk):
    world = ready(desk, [tokens_answer(refresh=False)])
    drive(obtain(desk, "acme/alice", ANY), world)
    after = held(desk, world)
    assert after.tokens.refresh == Secret("refresh-1")
    assert after.rotates is False


@pytest.mark.parametrize("oddity", [{"expires_in": "soon"}, {"expires_in": None}, {"scope": 7}, {"scope": ""}])
def test_a_token_is_saved_whatever_is_odd_beside_it(desk, oddity):
    world = ready(desk, [tokens_answer(**oddity)])
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert held(desk, world).tokens.refresh == Secret("refresh-2")


def test_a_store_that_cannot_be_written_spends_nothing(desk):
    world = ready(desk, [])

    def full(question):
        if isinstance(question, Swap):
            raise StoreUnavailable("the disk is full")

    world.before = full
    with pytest.raises(StoreUnavailable):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert "Send" not in world.asked


def test_a_log_that_cannot_be_written_spends_nothing_and_gives_the_claim_back(desk):
    world = ready(desk, [tokens_answer()])

    def full(question):
        if isinstance(question, Note):
            raise StoreUnavailable("the disk is full")

    world.before = full
    with pytest.raises(StoreUnavailable):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert "Send" not in world.asked
    after = held(desk, world)
    assert (after.lease, after.intent, after.trouble) == (None, None, None)
    world.before = lambda _: None
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"


def test_an_answer_is_saved_though_the_store_is_down_for_a_while(desk):
    world = ready(desk, [tokens_answer()])
    downs = iter([True, True, True])

    def down(question):
        if isinstance(question, Swap) and "Send" in world.asked and next(downs, False):
            raise StoreUnavailable("another process held it too long")

    world.before = down
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert held(desk, world).tokens.refresh == Secret("refresh-2")
    assert not world.spilled


def test_an_answer_that_cannot_be_saved_is_spilled_and_brought_home(desk):
    world = ready(desk, [tokens_answer()])

    def down(question):
        if isinstance(question, Swap) and "Send" in world.asked:
            raise StoreUnavailable("the disk is full")

    world.before = down
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert world.asked.count("Swap") == 1 + len(SAVE_DELAYS)
    world.before = lambda _: None
    assert drive(recover(desk, RECORD, world.spilled[RECORD]), world) is True
    after = held(desk, world)
    assert after.tokens.refresh == Secret("refresh-2")
    assert after.state(world.now.timestamp()) == "active"


def test_a_spilled_token_does_not_overwrite_a_newer_one(desk):
    world = ready(desk, [tokens_answer()])

    def down(question):
        if isinstance(question, Swap) and "Send" in world.asked:
            raise StoreUnavailable("the disk is full")

    world.before = down
    drive(obtain(desk, "acme/alice", ANY), world)
    world.before = lambda _: None
    newer = a_connection(refresh="refresh-of-a-new-consent", generation=3)
    entry = world.store.load(RECORD)
    world.store.swap(RECORD, entry.version, desk.seal_connection(newer, world.now.timestamp()))
    assert drive(recover(desk, RECORD, world.spilled[RECORD]), world) is True
    assert held(desk, world).tokens.refresh == Secret("refresh-of-a-new-consent")


def test_a_late_answer_does_not_overwrite_a_new_consent(desk):
    world = ready(desk, [tokens_answer()])

    def consent(question):
        if isinstance(question, Send):
            entry = world.store.load(RECORD)
            new = a_connection(refresh="refresh-of-a-new-consent", expires_in=7200.0, generation=2)
            world.store.swap(RECORD, entry.version, desk.seal_connection(new, world.now.timestamp()))

    world.before = consent
    drive(obtain(desk, "acme/alice", ANY), world)
    assert held(desk, world).tokens.refresh == Secret("refresh-of-a-new-consent")


def test_a_change_that_does_not_touch_the_grant_does_not_lose_the_answer(desk):
    world = ready(desk, [tokens_answer()])

    def touch(question):
        if isinstance(question, Send):
            entry = world.store.load(RECORD)
            touched = msgspec.structs.replace(held(desk, world), hosts=("api.acme.test",))
            world.store.swap(RECORD, entry.version, desk.seal_connection(touched, world.now.timestamp()))

    world.before = touch
    drive(obtain(desk, "acme/alice", ANY), world)
    assert held(desk, world).tokens.refresh == Secret("refresh-2")


def test_a_connection_removed_meanwhile_is_not_brought_back(desk):
    world = ready(desk, [tokens_answer()])

    def remove(question):
        if isinstance(question, Send):
            world.store.swap(RECORD, world.store.load(RECORD).version, None)

    world.before = remove
    with pytest.raises(NotFound):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert world.store.load(RECORD) is None


def test_invalid_grant_needs_a_person_and_deletes_nothing(desk):
    world = ready(desk, [refusal("invalid_grant")])
    with pytest.raises(NeedsReconnect) as caught:
        drive(obtain(desk, "acme/alice", ANY), world)
    assert caught.value.reason == "invalid_grant"
    assert "valetkey connect acme/alice" in caught.value.fix
    after = held(desk, world)
    assert after.state(world.now.timestamp()) == "needs_reconnect"
    assert after.tokens.refresh == Secret("refresh-1")
    with pytest.raises(NeedsReconnect):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert len(world.requests) == 1, "a grant that is gone is not asked for again"


def test_invalid_grant_after_a_crash_says_so(desk):
    crashed = Intent(attempt="a", fingerprint=Secret("refresh-1").fingerprint(), started_at=T0 + 30)
    world = ready(desk, [refusal("invalid_grant")], lease=Lease("dead", T0 + 50), intent=crashed)
    with pytest.raises(NeedsReconnect) as caught:
        drive(obtain(desk, "acme/alice", ANY), world)
    assert caught.value.reason == "crashed_mid_refresh"


def test_invalid_grant_after_a_crash_is_no_crash_where_refresh_tokens_do_not_rotate(desk):
    crashed = Intent(attempt="a", fingerprint=Secret("refresh-1").fingerprint(), started_at=T0 + 30)
    world = ready(desk, [refusal("invalid_grant")], lease=Lease("dead", T0 + 50), intent=crashed, rotates=False)
    with pytest.raises(NeedsReconnect) as caught:
        drive(obtain(desk, "acme/alice", ANY), world)
    assert caught.value.reason == "invalid_grant"


def test_a_lost_answer_leaves_the_connection_ambiguous_and_the_next_try_tells(desk):
    world = ready(desk, [ProviderTimeout("no answer", sent=True), refusal("invalid_grant")])
    with pytest.raises(ProviderTimeout):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert held(desk, world).state(world.now.timestamp()) == "ambiguous"
    world.advance(400)
    with pytest.raises(NeedsReconnect) as caught:
        drive(obtain(desk, "acme/alice", ANY), world)
    assert caught.value.reason == "answer_lost"


def test_a_request_that_was_never_sent_leaves_no_doubt(desk):
    world = ready(desk, [ProviderUnavailable("refused", sent=False), tokens_answer()])
    with pytest.raises(ProviderUnavailable):
        drive(obtain(desk, "acme/alice", ANY), world)
    after = held(desk, world)
    assert after.intent is None
    assert after.state(world.now.timestamp()) == "failing"
    world.advance(400)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert held(desk, world).trouble is None


def test_a_wrong_client_secret_does_not_burn_the_grant(desk):
    world = ready(desk, [refusal("invalid_client", 401), tokens_answer()])
    with pytest.raises(ClientRefused):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert held(desk, world).state(world.now.timestamp()) == "failing"
    with pytest.raises(ClientRefused) as again:
        drive(obtain(desk, "acme/alice", ANY), world)
    assert again.value.code == "invalid_client"
    assert len(world.requests) == 1, "a wrong secret is not tried on every call"
    world.advance(31)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"


def test_a_wrong_secret_called_unauthorized_client_with_401_ends_no_grant(desk):
    world = ready(desk, [refusal("unauthorized_client", 401), tokens_answer()])
    with pytest.raises(ClientRefused):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert (held(desk, world).trouble.sort, held(desk, world).intent) == ("client", None)
    world.advance(31)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"


def test_unauthorized_client_is_for_good(desk):
    world = ready(desk, [refusal("unauthorized_client")])
    with pytest.raises(NeedsReconnect):
        drive(obtain(desk, "acme/alice", ANY), world)
    after = held(desk, world)
    assert (after.trouble.sort, after.intent) == ("grant", None), "it was plainly refused, so nothing is in doubt"


@pytest.mark.parametrize(
    "answer",
    [
        Response(503, {"retry-after": "120"}, b""),
        Response(429, {"retry-after": "120"}, b""),
        ProviderUnavailable("refused", sent=False, retry_after=120.0),
    ],
)
def test_weather_waits_as_long_as_the_provider_asks(desk, answer):
    world = ready(desk, [answer])
    with pytest.raises(ProviderUnavailable):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert held(desk, world).trouble.retry_at == pytest.approx(world.now.timestamp() + 120)


def test_backoff_doubles_with_jitter_and_has_an_end(desk):
    world = ready(desk, [ProviderUnavailable("refused", sent=False)] * 20)
    waits = []
    for _ in range(20):
        with pytest.raises(ProviderUnavailable):
            drive(obtain(desk, "acme/alice", ANY), world)
        wait = held(desk, world).trouble.retry_at - world.now.timestamp()
        waits.append(wait)
        world.advance(wait + 0.001)
    for number, wait in enumerate(waits):
        most = min(300.0, 2.0**number)
        assert most / 2 <= wait <= most


def test_a_living_token_is_used_while_the_weather_is_bad(desk):
    world = ready(desk, [ProviderUnavailable("refused", sent=False)], expires_in=600.0)
    world.advance(600 - 61 - 30)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-1"


def test_html_in_the_place_of_a_token_is_weather_and_keeps_the_doubt(desk):
    world = ready(desk, [Response(200, {"content-type": "text/html"}, b"<html>log in</html>")])
    with pytest.raises(ValetkeyError) as caught:
        drive(obtain(desk, "acme/alice", ANY), world)
    assert caught.value.code == "bad_answer"
    after = held(desk, world)
    assert after.trouble.sort == "weather"
    assert after.intent.fate == "bad_answer"


def test_invalid_scope_is_our_configuration(desk):
    world = ready(desk, [refusal("invalid_scope")])
    with pytest.raises(RequestRefused) as refused:
        drive(obtain(desk, "acme/alice", ANY), world)
    trouble = held(desk, world).trouble
    assert (trouble.sort, trouble.cause) == ("client", refused.value.cause)
    assert trouble.cause.startswith("asked for: no scope at all; ")  # a refresh names none (RFC 6749 section 6)


def test_of_two_plans_one_renews_and_the_other_takes_its_token(desk):
    world = ready(desk, [tokens_answer()])
    second = obtain(desk, "acme/alice", ANY)
    assert isinstance(next(second), Load)
    second_saw = world.store.load(RECORD)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    # The second read the record before the first claimed it: its claim fails, it looks again and finds the new token.
    question = second.send(second_saw)
    while True:
        try:
            question = second.send(world.answer(question))
        except StopIteration as end:
            served = end.value
            break
    assert served.token.reveal() == "access-2"
    assert len(world.requests) == 1


def questions_of_a_refresh(desk):
    """Return how many questions a whole refresh asks."""
    world = ready(desk, [tokens_answer()])
    drive(obtain(desk, "acme/alice", ANY), world)
    return len(world.asked)


def test_a_plan_dropped_at_any_question_leaves_a_connection_that_comes_to_rest(desk):
    """Crash at the k-th question, for every k; start anew on what the store holds, after the lease has lapsed.

    The provider is strict: a refresh token is good once. Only a crash between its answer and the save loses the grant.
    """
    outcomes = {}
    for k in range(1, questions_of_a_refresh(desk) + 1):
        spent = []

        def strict(request, spent=spent):
            token = parse_qs(request.body.decode())["refresh_token"][0]
            if token in spent:
                return refusal("invalid_grant")
            spent.append(token)
            return tokens_answer(len(spent) + 1)

        world = FakeWorld(strict)
        put(desk, world, an_app(), a_connection(expires_in=60.0))
        world.advance(61)
        plan = obtain(desk, "acme/alice", ANY)
        question = next(plan)
        for _ in range(k - 1):
            question = plan.send(world.answer(question))
        crashed_at = type(question).__name__
        answered = isinstance(question, Send)
        if answered:
            world.answer(question)  # the provider has spent the token; the answer reaches nobody
        plan.close()
        world.advance(LEASE_SECONDS)
        try:
            drive(obtain(desk, "acme/alice", ANY), world)
            outcome = "active"
        except NeedsReconnect as lost:
            outcome = lost.reason
        after = held(desk, world)
        assert after.lease is None
        assert after.tokens.refresh is not None, "nothing is ever deleted"
        outcomes[k, crashed_at] = outcome
        if outcome != "active":
            # Between the provider's answer and the save, and nowhere else.
            assert crashed_at in {"Send", "Now", "Swap"}
            assert after.state(world.now.timestamp()) == "needs_reconnect"
            assert outcome == "crashed_mid_refresh"
    assert "active" in outcomes.values()
    assert "crashed_mid_refresh" in outcomes.values()


def test_client_credentials_are_asked_for_again_and_leave_no_doubt(desk):
    world = ready(
        desk,
        [ProviderTimeout("no answer", sent=True), tokens_answer(refresh=False)],
        grant="client_credentials",
        refresh=None,
    )
    with pytest.raises(ProviderTimeout):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert held(desk, world).state(world.now.timestamp()) == "failing"
    world.advance(400)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert world.requests[0]["grant_type"] == "client_credentials"


def test_no_question_of_a_refresh_shows_a_secret(desk):
    world = ready(desk, [tokens_answer()])
    shown = []
    world.before = lambda question: shown.append(repr(question))
    drive(obtain(desk, "acme/alice", ANY), world)
    text = "\n".join(shown)
    for secret in ("refresh-1", "refresh-2", "access-1", "access-2", "a-client-secret-that-nobody-may-see"):
        assert secret not in text
    assert {Load.__name__, Now.__name__, Luck.__name__, Swap.__name__} <= set(world.asked)
    assert Sleep.__name__ not in world.asked
    assert Spill.__name__ not in world.asked


def test_a_connection_nobody_made_is_not_found(desk, world):
    with pytest.raises(NotFound) as caught:
        drive(obtain(desk, "acme/nobody", ANY), world)
    assert "valetkey connect acme/nobody" in caught.value.fix


def test_an_app_that_is_gone_is_named(desk, world):
    put(desk, world, a_connection(expires_in=60.0))
    world.advance(61)
    with pytest.raises(NotFound, match="no app called acme"):
        drive(obtain(desk, "acme/alice", ANY), world)


def test_the_providers_own_margin_is_learned_with_the_tokens(desk):
    world = FakeWorld(lambda _: tokens_answer(expires_in=600))
    put(desk, world, an_app(a_provider(margin_seconds=30)), a_connection(expires_in=60.0))
    world.advance(61)
    drive(obtain(desk, "acme/alice", ANY), world)
    assert world.store.load(RECORD).due_at == world.now + timedelta(seconds=600 - 30)


def test_a_refusal_that_comes_after_a_new_consent_is_of_the_past(desk):
    world = ready(desk, [refusal("invalid_grant")])

    def consent(question):
        if isinstance(question, Send):
            entry = world.store.load(RECORD)
            new = a_connection(refresh="refresh-of-a-new-consent", expires_in=7200.0, generation=2)
            world.store.swap(RECORD, entry.version, desk.seal_connection(new, world.now.timestamp()))

    world.before = consent
    served = drive(obtain(desk, "acme/alice", ANY), world)
    assert served.token.reveal() == "access-1", "the token of the new consent, and no error"
    assert held(desk, world).state(world.now.timestamp()) == "active"
