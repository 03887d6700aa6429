"""News on its way: put down once, taken by one, tried again with patience, remembered, and forgotten."""

from __future__ import annotations

import msgspec
import pytest

from valetkey.errors import AlreadyExists, InsecureUrl, InvalidInput, NotFound
from valetkey.values import Secret
from valetkey.vault import names
from valetkey.vault.notices import (
    CARRY_SECONDS,
    GIVE_UP_SECONDS,
    KEPT_SECONDS,
    RETRIES,
    Listener,
    News,
    Outcome,
    add_listener,
    listeners,
    publish,
    remove_listener,
    settle,
    take,
)
from valetkey.vault.webhook import new_secret
from vaultkit import START, drive

T0 = START.timestamp()
GONE = News("connection.needs_reconnect", "acme/alice", "1", T0, {"connection": "acme/alice"})
OK = Outcome(delivered=True, word="http_204")
BAD = Outcome(delivered=False, word="http_500")


def listener(name="desk", **changes):
    return msgspec.structs.replace(Listener(name=name, created_at=0, command=("true",)), **changes)


def waiting(world) -> list[str]:
    return world.store.names(names.NOTICES, "", 100)


@pytest.fixture
def told(desk, world):
    """Return a world in which one listener waits for one piece of news."""
    drive(add_listener(desk, listener()), world)
    assert drive(publish(desk, GONE), world) == 1
    world.notes.clear()
    return world


# ── who listens ───────────────────────────────────────────────────────────────────────────────────────────────


def test_who_listens_is_kept_sealed_and_listed(desk, world, canary):
    secret = new_secret(canary.make().encode()[:40])
    canary.watch("webhook secret", secret.reveal())
    made = drive(add_listener(desk, listener(url="https://example.com/h", command=(), secret=secret)), world)
    assert made.created_at == T0
    assert drive(listeners(desk), world) == (made,)
    canary.assert_absent(world.store.load(names.LISTENERS).box, repr(made))
    drive(remove_listener(desk, "desk"), world)
    assert drive(listeners(desk), world) == ()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "No Such"}, InvalidInput),
        ({"kinds": ("connection.dead",)}, InvalidInput),
        ({"command": ()}, InvalidInput),
        ({"command": ("",)}, InvalidInput),
        ({"url": "https://example.com/h"}, InvalidInput),  # both
        ({"url": "http://example.com/h", "command": ()}, InsecureUrl),
        ({"url": "https://example.com/h", "command": ()}, InvalidInput),  # without a secret
        ({"url": "https://example.com/h", "command": (), "secret": Secret("whsec_AAAA")}, InvalidInput),
    ],
)
def test_who_cannot_be_told_is_refused(desk, world, changes, error):
    with pytest.raises(error):
        drive(add_listener(desk, listener(**changes)), world)
    assert drive(listeners(desk), world) == ()


def test_names_of_listeners_are_taken_once_and_unknown_ones_are_named(desk, world):
    drive(add_listener(desk, listener()), world)
    with pytest.raises(AlreadyExists):
        drive(add_listener(desk, listener()), world)
    with pytest.raises(NotFound):
        drive(remove_listener(desk, "nobody"), world)


# ── what waits ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_news_is_put_down_once_for_each_who_wants_it(desk, world):
    for one in (listener("all"), listener("some", kinds=("connection.failing",)), listener("too")):
        drive(add_listener(desk, one), world)
    assert drive(publish(desk, GONE), world) == 2
    assert drive(publish(desk, GONE), world) == 0
    other = News(GONE.kind, GONE.subject, "2", T0)
    assert other.identifier != GONE.identifier
    assert drive(publish(desk, other), world) == 2


def test_a_notice_is_carried_by_one_replica_at_a_time(desk, told):
    (record,) = waiting(told)
    errand = drive(take(desk, record), told)
    assert (errand.notice.attempts, errand.listener.name) == (1, "desk")
    assert drive(take(desk, record), told) is None
    told.advance(CARRY_SECONDS)
    assert drive(take(desk, record), told).notice.attempts == 2  # the first has crashed


def test_what_was_delivered_is_remembered_a_while_and_then_forgotten(desk, told):
    (record,) = waiting(told)
    assert drive(settle(desk, drive(take(desk, record), told), OK), told) is True
    assert told.notes == [("notice.delivered", "ok", "http_204")]
    assert drive(publish(desk, GONE), told) == 0
    told.advance(KEPT_SECONDS)
    assert drive(take(desk, record), told) is None
    assert waiting(told) == []


def test_what_is_not_delivered_is_tried_again_and_given_up_after_three_days(desk, told):
    (record,) = waiting(told)
    waits = []
    while (errand := drive(take(desk, record), told)) is not None:
        before = told.now.timestamp()
        if drive(settle(desk, errand, BAD), told):
            break
        wait = told.store.load(record).due_at.timestamp() - before
        waits.append(wait)
        told.advance(wait)
    assert [round(wait / expected, 1) for wait, expected in zip(waits, RETRIES, strict=False)] == [1.0] * len(RETRIES)
    assert GIVE_UP_SECONDS <= told.now.timestamp() - T0 < GIVE_UP_SECONDS + RETRIES[-1] * 1.2
    assert told.notes[-1] == ("notice.given_up", "failed", "http_500")
    assert drive(publish(desk, GONE), told) == 0


def test_a_receiver_that_wants_to_rest_is_left_alone_and_one_that_is_gone_is_given_up(desk, told):
    (record,) = waiting(told)
    busy = Outcome(delivered=False, word="http_429", retry_after=900.0)
    drive(settle(desk, drive(take(desk, record), told), busy), told)
    assert told.store.load(record).due_at.timestamp() == T0 + 900
    told.advance(900)
    gone = Outcome(delivered=False, word="http_410", final=True)
    assert drive(settle(desk, drive(take(desk, record), told), gone), told) is True
    assert told.notes[-1][0] == "notice.given_up"


def test_what_waits_for_a_listener_that_was_removed_is_forgotten(desk, told):
    (record,) = waiting(told)
    drive(remove_listener(desk, "desk"), told)
    assert drive(take(desk, record), told) is None
    assert waiting(told) == []


def test_a_late_outcome_does_not_undo_what_another_replica_has_done(desk, told):
    (record,) = waiting(told)
    late = drive(take(desk, record), told)
    told.advance(CARRY_SECONDS)
    drive(settle(desk, drive(take(desk, record), told), OK), told)
    drive(settle(desk, late, BAD), told)
    assert told.store.load(record).state == "told"


def test_news_is_shaped_as_standard_webhooks_wants_it():
    assert msgspec.json.decode(GONE.body()) == {
        "type": "connection.needs_reconnect",
        "timestamp": "2026-03-01T12:00:00+00:00",
        "data": {"connection": "acme/alice"},
    }
