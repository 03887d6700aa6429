"""What becomes of refresh tokens, manner by manner."""

import pytest

from valetkey.errors import InvalidInput
from valetkey.testing import MANNERS, Manner, Sandbox

pytestmark = pytest.mark.network


def spent(hand):
    """Return a refresh token that was used once, and its successor."""
    old = hand.connect()["refresh_token"]
    new = hand.refresh(old).json["refresh_token"]
    assert new != old
    return old, new


def test_rotating_reuse_ends_the_whole_family(opened):
    hand = opened("rotating")
    old, new = spent(hand)
    access = hand.refresh(new).json["access_token"]
    assert hand.whoami(access).status == 200
    reply = hand.refresh(old)
    assert (reply.status, reply.error) == (400, "invalid_grant")
    assert hand.whoami(access).status == 401
    assert not hand.sandbox.grant_alive("alice")


def test_rotating_reuse_of_one_grant_leaves_the_others_alone(opened):
    hand = opened("rotating")
    other = hand.connect()
    old, _new = spent(hand)
    hand.refresh(old)
    assert hand.refresh(other["refresh_token"]).status == 200


def test_rotating_refused_says_no_and_the_successor_lives_on(opened):
    hand = opened("rotating_refused")
    old, new = spent(hand)
    assert hand.refresh(old).error == "invalid_grant"
    assert hand.refresh(new).status == 200


def test_a_grace_lasts_from_the_first_replacement_and_not_an_instant_longer(opened):
    now = [1_000_000.0]
    hand = opened(Manner(old_token="grace", grace=30.0), clock=lambda: now[0])
    old, _new = spent(hand)
    now[0] += 29.5
    assert hand.refresh(old).status == 200
    now[0] += 0.5
    assert hand.refresh(old).error == "invalid_grant"
    assert not hand.sandbox.grant_alive("alice")


def test_until_the_new_one_is_used_the_old_one_works_and_then_no_longer(opened):
    hand = opened("until_new_is_used")
    old, lost = spent(hand)
    again = hand.refresh(old).json["refresh_token"]
    assert again not in {old, lost}
    assert hand.refresh(again).status == 200
    assert hand.refresh(old).error == "invalid_grant"


def test_old_stays_means_that_old_and_new_both_work(opened):
    hand = opened("old_stays")
    old, new = spent(hand)
    hand.sandbox.advance(86_400)
    assert hand.refresh(old).status == 200
    assert hand.refresh(new).status == 200


def test_never_rotates_answers_without_a_refresh_token(opened):
    hand = opened("never_rotates")
    token = hand.connect()["refresh_token"]
    for _time in range(3):
        answer = hand.refresh(token).json
        assert "refresh_token" not in answer
        assert hand.whoami(answer["access_token"]).status == 200


def test_same_again_repeats_the_refresh_token(opened):
    hand = opened("same_again")
    token = hand.connect()["refresh_token"]
    assert hand.refresh(token).json["refresh_token"] == token


def test_a_fixed_end_is_told_and_no_refresh_moves_it(opened):
    now = [1_000_000.0]
    hand = opened("fixed_end", clock=lambda: now[0])
    first = hand.connect()
    assert first["refresh_token_expires_in"] == 86_400
    now[0] += 86_399
    assert hand.refresh(first["refresh_token"]).status == 200
    now[0] += 1
    assert hand.refresh(first["refresh_token"]).error == "invalid_grant"


def test_a_rotated_successor_inherits_the_fixed_end(opened):
    now = [1_000_000.0]
    hand = opened(Manner(refresh_lifetime=100.0), clock=lambda: now[0])
    token = hand.connect()["refresh_token"]
    now[0] += 60
    answer = hand.refresh(token).json
    assert answer["refresh_token_expires_in"] == 40
    now[0] += 40
    assert hand.refresh(answer["refresh_token"]).error == "invalid_grant"


@pytest.mark.parametrize(
    ("manner", "asked", "given"),
    [
        ("access_type", {}, False),
        ("access_type", {"access_type": "offline"}, True),
        ("offline_access", {}, False),
        ("offline_access", {"scope": "read offline_access"}, True),
        ("no_refresh", {"access_type": "offline", "scope": "read offline_access"}, False),
    ],
)
def test_some_give_a_refresh_token_only_to_those_who_ask(opened, manner, asked, given):
    assert ("refresh_token" in opened(manner).connect(**asked)) is given


def test_a_refresh_may_end_the_older_access_tokens(opened):
    hand = opened(Manner(refresh_ends_access=True))
    first, other = hand.connect(), hand.connect()
    second = hand.refresh(first["refresh_token"]).json
    assert hand.whoami(first["access_token"]).status == 401
    assert hand.whoami(other["access_token"]).status == 200
    assert hand.whoami(second["access_token"]).status == 200


def test_too_many_grants_of_a_user_silently_end_the_oldest(opened):
    hand = opened(Manner(grants_per_user=2))
    first, second, third = hand.connect(), hand.connect(), hand.connect()
    bob = hand.connect("bob")
    assert hand.refresh(first["refresh_token"]).error == "invalid_grant"
    assert [hand.refresh(each["refresh_token"]).status for each in (second, third, bob)] == [200, 200, 200]


def test_an_unknown_manner_is_refused_and_the_known_ones_are_named():
    with pytest.raises(InvalidInput) as raised:
        Sandbox("sometimes")
    assert all(name in raised.value.fix for name in MANNERS)


@pytest.mark.parametrize("habits", [{"nested": "a", "answers": "form"}, {"grace": 5.0}, {"old_token": "grace"}])
def test_habits_that_exclude_each_other_are_refused(habits):
    with pytest.raises(InvalidInput):
        Manner(**habits)
