"""The schedule's plans: who renews what is due, who goes on, and what is put down to be told, crash by crash."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.effects import Swap
from valetkey.errors import NotFound, ProviderTimeout, StoreUnavailable
from valetkey.providers.schema import Source
from valetkey.values import Response, Secret
from valetkey.vault import names
from valetkey.vault.connect import Wish, connect_machine
from valetkey.vault.judge import Demand
from valetkey.vault.notices import Listener, add_listener
from valetkey.vault.records import Intent, Lease, TokenSet, Trouble
from valetkey.vault.renew import LEASE_SECONDS, obtain
from valetkey.vault.schedule import (
    BLIPS,
    claim_survey,
    end_survey,
    mood,
    survey_begun,
    survey_connection,
    survey_soon,
    tell,
    tend,
)
from vaultkit import START, FakeWorld, a_connection, a_provider, an_app, drive, held, put, refusal, tokens_answer

T0 = START.timestamp()
NAME = "acme/alice"
RECORD = "connection/acme/alice"
DAY = 86_400.0


def scene(desk, *answers, provider=None, listener=True, **connection):
    """Return a world with a connection whose token ends in a minute, and a provider that gives these answers in turn."""
    waiting = iter(answers)

    def answer(_request):
        given = next(waiting)
        if isinstance(given, Exception):
            raise given
        return given

    world = FakeWorld(answer)
    put(desk, world, an_app(provider), a_connection(**{"expires_in": 60.0, **connection}))
    if listener:
        drive(add_listener(desk, Listener(name="desk", created_at=0, command=("true",))), world)
    world.asked.clear()
    return world


def news(desk, world) -> list[dict]:
    """Return what waits to be told, the oldest first."""
    found = []
    for record in world.store.names(names.NOTICES, "", 100):
        stored = desk.sealer.open(record, world.store.load(record).box)
        found.append(json.loads(msgspec.msgpack.decode(stored[3:])["body"]))
    return found


def kinds(desk, world) -> list[str]:
    return sorted(one["type"] for one in news(desk, world))


def due(world, name=RECORD) -> float | None:
    at = world.store.load(name).due_at
    return None if at is None else at.timestamp() - T0


# ── renewing ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_due_is_renewed_ahead_of_its_callers(desk):
    world = scene(desk, tokens_answer())
    world.advance(due(world))
    assert world.now.timestamp() - T0 <= 54  # its callers would have renewed it at 54 seconds, with a margin of 6
    tended = drive(tend(desk, NAME), world)
    assert (tended.became, tended.news, tended.error) == ("renewed", "", None)
    assert held(desk, world).tokens.access == Secret("access-2")
    assert due(world) > 2900


def test_what_is_not_due_is_left_alone(desk):
    world = scene(desk)
    assert drive(tend(desk, NAME), world).became == "elsewhere"
    assert set(world.asked) == {"Load", "Now"}


def test_a_connection_that_was_removed_is_no_error(desk, world):
    assert drive(tend(desk, NAME), world).became == "gone"


def test_what_another_replica_has_claimed_is_passed_by_without_waiting(desk):
    world = scene(desk, lease=Lease("another", T0 + 100))
    world.advance(60)
    assert drive(tend(desk, NAME), world).became == "elsewhere"
    assert not {"Sleep", "Send", "Swap"} & set(world.asked)


def test_of_two_replicas_that_look_at_the_same_time_one_asks_the_provider(desk):
    world = scene(desk, tokens_answer())
    world.advance(60)
    became = []

    def other(question):
        if isinstance(question, Swap):
            world.before = lambda _: None
            became.append(drive(tend(desk, NAME), world).became)

    world.before = other
    became.append(drive(tend(desk, NAME), world).became)
    assert became == ["renewed", "elsewhere"]
    assert world.asked.count("Send") == 1


def test_a_lease_that_lapsed_is_picked_up_and_the_refresh_token_in_doubt_is_tried(desk):
    intent = Intent(attempt="a", fingerprint=Secret("refresh-1").fingerprint(), started_at=T0)
    world = scene(desk, tokens_answer(), expires_in=3600.0, lease=Lease("dead", T0 + 45), intent=intent)
    assert due(world) == 45
    world.advance(44)
    assert drive(tend(desk, NAME), world).became == "elsewhere"
    world.advance(1)
    assert drive(tend(desk, NAME), world).became == "renewed"
    assert held(desk, world).intent is None


def test_a_lapsed_lease_renews_the_token_it_was_taken_for(desk):
    user = TokenSet(access=Secret("u-1"), refresh=Secret("ur-1"), obtained_at=T0, expires_at=T0 + 3600)
    intent = Intent(attempt="a", fingerprint=Secret("ur-1").fingerprint(), started_at=T0)
    world = scene(desk, parts={"user": user}, expires_in=3600.0, lease=Lease("dead", T0 + 45), intent=intent)
    spent = []

    def provider(request):
        spent.append(b"refresh_token=ur-1" in request.body)
        return tokens_answer()

    world.provider = provider
    world.advance(45)
    assert drive(tend(desk, NAME), world).became == "renewed"
    assert spent == [True]


def test_what_was_spilled_comes_home_before_its_predecessor_could_be_spent_again(desk):
    world = scene(desk, tokens_answer(), listener=False)
    world.advance(60)

    def down(question):
        if isinstance(question, Swap) and "Send" in world.asked:
            raise StoreUnavailable("the disk is full")

    world.before = down
    drive(tend(desk, NAME), world)
    assert RECORD in world.spilled
    world.before = lambda _: None
    world.advance(LEASE_SECONDS)
    assert drive(tend(desk, NAME), world).became == "elsewhere"
    assert held(desk, world).tokens.refresh == Secret("refresh-2")
    assert world.asked.count("Send") == 1


def test_a_retry_is_due_when_the_backoff_ends_and_not_before(desk):
    world = scene(desk, Response(503, {"retry-after": "120"}), tokens_answer(), expires_in=600.0)
    world.advance(540)
    tended = drive(tend(desk, NAME), world)
    assert tended.became == "failed"
    assert tended.error.retry_after == 120
    assert due(world) == 540 + 120
    world.advance(119)
    assert drive(tend(desk, NAME), world).became == "elsewhere"
    world.advance(1)
    assert drive(tend(desk, NAME), world).became == "renewed"


def test_an_unused_refresh_token_is_used_in_time_although_its_access_token_never_expires(desk):
    world = scene(
        desk, tokens_answer(expires_in=None), expires_in=None, idle=30 * DAY, provider=a_provider(idle_days=30)
    )
    assert 13.5 * DAY <= due(world) <= 15 * DAY
    world.advance(15 * DAY)
    assert drive(tend(desk, NAME), world).became == "renewed"
    assert held(desk, world).tokens.refresh == Secret("refresh-2")


def test_a_machines_token_is_asked_for_anew(desk):
    world = FakeWorld(lambda _: tokens_answer(refresh=False, expires_in=600))
    put(desk, world, an_app())
    drive(connect_machine(desk, "acme/robot", Wish(), "client_credentials"), world)
    world.advance(540)
    assert drive(tend(desk, "acme/robot"), world).became == "renewed"


def test_each_token_of_a_connection_is_renewed_in_its_turn(desk):
    user = TokenSet(access=Secret("u-1"), refresh=Secret("ur-1"), obtained_at=T0, expires_at=T0 + 60)
    world = scene(desk, tokens_answer(2), tokens_answer(3), parts={"user": user})
    world.advance(60)
    assert drive(tend(desk, NAME), world).became == "renewed"
    assert due(world) <= 60  # the other is due still
    assert drive(tend(desk, NAME), world).became == "renewed"
    after = held(desk, world)
    assert {after.tokens.access.reveal(), after.parts["user"].access.reveal()} == {"access-2", "access-3"}


def test_the_trouble_of_one_token_outlives_the_renewal_of_another_and_is_not_due_for_ever(desk):
    user = TokenSet(access=Secret("u-1"), refresh=Secret("ur-1"), obtained_at=T0, expires_at=T0 + 60)
    gone = Trouble(sort="grant", code="invalid_grant", message="gone", at=T0, part="user")
    world = scene(desk, tokens_answer(), parts={"user": user}, trouble=gone, told="needs_reconnect")
    world.advance(60)
    assert drive(tend(desk, NAME), world).became == "renewed"
    assert held(desk, world).trouble == gone
    assert due(world) > 2900


def test_an_app_that_is_gone_is_raised_for_the_refresher_to_leave_it_alone(desk, world):
    put(desk, world, a_connection(expires_in=60.0))
    world.advance(60)
    with pytest.raises(NotFound):
        drive(tend(desk, NAME), world)


def test_a_column_that_another_version_reckoned_otherwise_is_put_right(desk):
    world = scene(desk)
    entry = world.store.load(RECORD)
    assert world.store.swap(RECORD, entry.version, replace(entry, due_at=START))
    world.advance(10)
    assert drive(tend(desk, NAME), world).became == "elsewhere"
    assert due(world) > 40


# ── telling ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_grant_that_is_gone_is_told_once_with_reason_and_fix(desk):
    world = scene(desk, refusal("invalid_grant"))
    world.advance(60)
    tended = drive(tend(desk, NAME), world)
    assert (tended.became, tended.news) == ("failed", "connection.needs_reconnect")
    assert drive(tell(desk, NAME), world) == ""
    (told,) = news(desk, world)
    assert told["type"] == "connection.needs_reconnect"
    assert told["timestamp"] == world.now.isoformat(timespec="seconds")
    data = told["data"]
    assert (data["connection"], data["state"], data["code"]) == (NAME, "needs_reconnect", "invalid_grant")
    assert data["fix"] == f"valetkey connect {NAME}" or "connect" in data["fix"]
    assert due(world) is None


def test_one_passing_failure_is_told_to_nobody_three_are(desk):
    world = scene(desk, *[Response(503)] * BLIPS, expires_in=6000.0)
    world.advance(5700)
    told = []
    for _ in range(BLIPS):
        world.advance(max(0.0, due(world) - (world.now.timestamp() - T0)))
        told.append(drive(tend(desk, NAME), world).news)
    assert told == ["", "", "connection.failing"]


def test_a_failure_that_leaves_no_usable_token_is_told_at_once(desk):
    world = scene(desk, ProviderTimeout("no answer"))
    world.advance(60)
    assert drive(tend(desk, NAME), world).news == "connection.failing"


def test_what_only_we_can_mend_is_told_at_once(desk):
    world = scene(desk, refusal("invalid_client", 401), expires_in=600.0)
    world.advance(540)
    assert drive(tend(desk, NAME), world).news == "connection.failing"


def test_recovery_is_told_after_failing_was(desk):
    world = scene(desk, refusal("invalid_client", 401), tokens_answer())
    world.advance(60)
    drive(tend(desk, NAME), world)
    world.advance(due(world) - (world.now.timestamp() - T0))
    assert drive(tend(desk, NAME), world).news == "connection.recovered"
    assert kinds(desk, world) == ["connection.failing", "connection.recovered"]
    assert next(one for one in news(desk, world) if one["type"].endswith("recovered"))["data"]["was"] == "failing"


def test_trouble_that_nobody_was_told_of_ends_without_a_word(desk):
    world = scene(desk, Response(503), tokens_answer(), expires_in=600.0)
    world.advance(540)
    drive(tend(desk, NAME), world)
    world.advance(due(world) - 540)
    assert drive(tend(desk, NAME), world).news == ""
    assert news(desk, world) == []


def test_what_a_caller_ran_into_is_told_too(desk):
    world = scene(desk, refusal("invalid_grant"))
    world.advance(60)
    with pytest.raises(Exception, match="must be connected again"):
        drive(obtain(desk, NAME, Demand()), world)
    assert due(world) <= world.now.timestamp() - T0
    assert drive(tend(desk, NAME), world).news == "connection.needs_reconnect"
    assert world.asked.count("Send") == 1  # telling spends nothing


def test_a_person_who_connects_again_is_a_recovery(desk):
    gone = Trouble(sort="grant", code="invalid_grant", message="gone", at=T0)
    world = scene(desk, trouble=gone, told="needs_reconnect")
    entry = world.store.load(RECORD)
    again = a_connection(told="needs_reconnect", generation=2, refreshed_at=T0 + 5)
    assert world.store.swap(RECORD, entry.version, desk.seal_connection(again, T0 + 5))
    world.advance(10)
    assert drive(tend(desk, NAME), world).news == "connection.recovered"
    assert due(world) > 2900


def test_a_token_without_a_refresh_token_is_said_to_be_over_when_it_is(desk):
    world = scene(desk, refresh=None)
    assert due(world) == 60
    world.advance(60)
    assert drive(tend(desk, NAME), world).news == "connection.needs_reconnect"
    assert world.store.load(RECORD).state == "needs_reconnect"
    assert due(world) is None
    assert news(desk, world)[0]["data"]["reason"] == "no_refresh_token"
    assert "Send" not in world.asked


def test_a_crash_between_the_news_and_the_mark_tells_it_once(desk):
    world = scene(desk, refusal("invalid_grant"))
    world.advance(60)
    swaps = []

    def crash(question):
        if isinstance(question, Swap):
            swaps.append(question.name)
            if len(swaps) > 2 and question.name == RECORD:
                raise KeyboardInterrupt

    world.before = crash
    with pytest.raises(KeyboardInterrupt):
        drive(tend(desk, NAME), world)
    assert swaps[2].startswith(names.NOTICES)  # claim, failure written down, news, and then the mark that failed
    world.before = lambda _: None
    world.advance(100)
    drive(tend(desk, NAME), world)
    assert kinds(desk, world) == ["connection.needs_reconnect"]
    assert held(desk, world).told == "needs_reconnect"


def test_without_anybody_who_listens_nothing_waits_to_be_told(desk):
    world = scene(desk, refusal("invalid_grant"), listener=False)
    world.advance(60)
    drive(tend(desk, NAME), world)
    assert news(desk, world) == []
    assert due(world) is None


def test_nothing_that_is_told_holds_a_secret(desk, canary):
    secret, refresh = canary.make("client secret"), canary.make("refresh token")
    world = FakeWorld(lambda _: refusal("invalid_grant"))
    app = msgspec.structs.replace(an_app(), secret=Secret(secret))
    put(desk, world, app, a_connection(expires_in=60.0, refresh=refresh))
    drive(add_listener(desk, Listener(name="desk", created_at=0, command=("true",))), world)
    world.advance(60)
    drive(tend(desk, NAME), world)
    assert news(desk, world)
    canary.assert_absent(json.dumps(news(desk, world)))


def test_telling_leaves_a_renewal_that_is_under_way_in_peace(desk):
    world = scene(desk, told="failing", lease=Lease("another", T0 + 100))
    assert drive(tell(desk, NAME), world) == ""
    assert "Swap" not in world.asked


def weather(failures=1):
    return Trouble(sort="weather", code="provider_unavailable", message="down", at=T0, failures=failures)


@pytest.mark.parametrize(
    ("facts", "seconds", "felt"),
    [
        ({}, 0, ""),
        ({"trouble": weather()}, 59.9, ""),
        ({"trouble": weather()}, 60, "failing"),  # its token has just ended
        ({"trouble": weather(BLIPS)}, 0, "failing"),
        ({"trouble": weather(BLIPS - 1)}, 0, ""),
        ({"trouble": weather(), "told": "failing"}, 0, "failing"),  # it is not well because it was tried again
        ({"trouble": weather(), "told": "needs_reconnect"}, 0, ""),
        ({"trouble": weather(BLIPS), "revoked_at": T0}, 0, ""),
        ({"trouble": weather(), "expires_in": None}, 1e6, ""),
    ],
)
def test_the_mood_of_a_connection(facts, seconds, felt):
    assert mood(a_connection(**{"expires_in": 60.0, **facts}), T0 + seconds) == felt


# ── the survey ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_survey_is_made_by_one_replica_a_day(desk, world):
    drive(survey_begun(desk), world)
    version = drive(claim_survey(desk), world)
    assert version is not None
    assert drive(claim_survey(desk), world) is None
    drive(end_survey(desk, version), world)
    world.advance(DAY - 1)
    assert drive(claim_survey(desk), world) is None
    world.advance(1)
    assert drive(claim_survey(desk), world) is not None


def test_a_survey_that_was_never_ended_is_made_by_another(desk, world):
    drive(survey_begun(desk), world)
    drive(claim_survey(desk), world)
    world.advance(1800)
    assert drive(claim_survey(desk), world) is not None


def test_a_new_listener_hears_of_what_is_forecast_already(desk, world):
    drive(survey_begun(desk), world)
    drive(end_survey(desk, drive(claim_survey(desk), world)), world)
    drive(survey_soon(desk), world)
    assert drive(claim_survey(desk), world) is not None


def test_a_forecast_is_told_at_each_of_its_times_and_once(desk):
    read = Source("https://acme.test/docs", "2026-01-02", ["refresh"])
    provider = msgspec.structs.replace(a_provider(absolute_days=365), sources=[read])
    world = scene(desk, provider=provider, consented_at=T0)
    told = []
    for day in (334, 335, 336, 357, 358, 359, 363, 364, 366):
        world.now = datetime.fromtimestamp(T0 + day * DAY, UTC)
        told.append(drive(survey_connection(desk, RECORD, {}), world))
    assert told == [0, 1, 0, 0, 1, 0, 0, 1, 0]
    assert {one["data"]["what"] for one in news(desk, world)} == {
        "the refresh token ends 365 days after consent, whatever is done"
    }


def test_a_client_secret_that_ends_is_told_for_the_app(desk):
    world = scene(desk)
    entry = world.store.load("app/acme")
    app = msgspec.structs.replace(an_app(), secret_expires_at=T0 + 5 * DAY)
    assert world.store.swap("app/acme", entry.version, desk.seal_app(app))
    apps: dict = {}
    assert drive(survey_connection(desk, RECORD, apps), world) == 1
    assert drive(survey_connection(desk, RECORD, apps), world) == 0
    (told,) = news(desk, world)
    assert (told["type"], told["data"]["subject"]) == ("app.forecast", "acme")
    assert told["data"]["days_left"] == 5.0


def test_drift_from_the_catalogue_is_told_once_for_an_app(desk):
    world = scene(desk, provider=a_provider(rotates="never"), rotates=True)
    put(desk, world, a_connection(label="bob", rotates=True))
    apps: dict = {}
    assert drive(survey_connection(desk, RECORD, apps), world) == 1
    assert drive(survey_connection(desk, "connection/acme/bob", apps), world) == 0
    assert news(desk, world)[0]["data"]["fact"] == "refresh.rotates"


def test_the_refresh_of_the_schedule_asks_no_more_than_a_callers(desk):
    world = scene(desk, tokens_answer())
    world.advance(60)
    drive(tend(desk, NAME), world)
    costs = [asked for asked in world.asked if asked in {"Swap", "Note", "Send", "Sleep"}]
    assert costs == ["Swap", "Note", "Send", "Swap", "Note"]


# ── crashes ───────────────────────────────────────────────────────────────────────────────────────────────────


class Crash(BaseException):
    """The process is gone."""


def strict():
    """Return a provider that ends the grant when a refresh token comes twice, and how often each came."""
    spent: list[str] = []

    def answer(request):
        token = parse_qs(request.body.decode())["refresh_token"][0]
        dead = token in spent
        spent.append(token)
        return refusal("invalid_grant") if dead else tokens_answer(len(spent) + 1)

    return answer, spent


def dropped_at(desk, k: int, world) -> list[str]:
    """Tend, and die before the k-th question is answered; return what was answered before."""
    asked = []

    def die(question):
        asked.append(type(question).__name__)
        if len(asked) == k:
            raise Crash

    world.before = die
    try:
        drive(tend(desk, NAME), world)
    except Crash:
        asked.pop()
    finally:
        world.before = lambda _: None
    return asked


@pytest.mark.parametrize("k", range(1, 18))
def test_whichever_question_it_dies_at_the_next_one_finishes_the_work(desk, k):
    world = scene(desk)
    world.provider, spent = strict()
    world.advance(60)
    answered = dropped_at(desk, k, world)
    world.advance(LEASE_SECONDS + 1)
    drive(tend(desk, NAME), world)
    after = held(desk, world)
    lost = "Send" in answered and "Swap" not in answered[answered.index("Send") :]  # answered, and never saved
    assert spent == (["refresh-1"] * 2 if lost else ["refresh-1"])
    assert world.store.load(RECORD).state == ("needs_reconnect" if lost else "active")
    assert kinds(desk, world) == (["connection.needs_reconnect"] if lost else [])
    assert (after.lease, after.told) == (None, "needs_reconnect" if lost else "")
    assert due(world) is None if lost else due(world) > 2900
