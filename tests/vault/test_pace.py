"""Lanes: even starts, bounded flights, rest after failures, each host in its turn. Times are numbers here."""

from __future__ import annotations

import pytest

from valetkey.vault.pace import REST_FIRST, REST_MOST, Lanes


def lanes(**work: int) -> Lanes:
    """Return lanes with so much work each: ten a second, three at once."""
    made = Lanes()
    for place, count in work.items():
        for number in range(count):
            made.add(place, f"{place}-{number}", per_second=10.0, most=3)
    return made


def test_work_of_one_host_starts_evenly_and_not_too_much_of_it_at_once():
    made = lanes(a=5)
    assert made.take(0.0) == ("a", "a-0")
    assert made.take(0.05) is None
    assert made.ready_at() == 0.1
    assert made.take(0.1) == ("a", "a-1")
    assert made.take(0.2) == ("a", "a-2")
    assert made.take(10.0) is None
    assert made.ready_at() is None  # three are under way
    made.land("a", 0.0, 10.0, rest=None)
    assert made.take(10.0) == ("a", "a-3")


def test_time_that_went_by_unused_is_not_made_up_for():
    made = lanes(a=3)
    made.take(0.0)
    assert made.take(100.0) is not None
    assert made.take(100.0) is None


def test_each_host_has_its_turn():
    made = lanes(a=2, b=2)
    assert [made.take(0.0)[0], made.take(0.0)[0], made.take(0.1)[0], made.take(0.1)[0]] == ["a", "b", "a", "b"]


def test_a_host_that_is_down_is_tried_by_one_at_a_time_and_ever_more_rarely():
    made = lanes(a=20)
    for moment in (0.0, 0.1, 0.2):
        assert made.take(moment) is not None
    for _ in range(3):
        made.land("a", 0.1, 30.0, rest=0.0)  # all three began before the first of them failed: one stumble
    made.add("b", "b-0", per_second=10.0, most=3)
    assert made.take(30.0)[0] == "b"
    assert made.ready_at() == 30.0 + REST_FIRST
    assert made.take(31.0)[0] == "a"
    assert made.take(99.0) is None  # a single one goes ahead
    made.land("a", 31.0, 32.0, rest=0.0)
    assert made.ready_at() == 32.0 + 2 * REST_FIRST
    made.take(40.0)
    made.land("a", 40.0, 41.0, rest=None)
    assert [made.take(41.0 + n)[0] for n in range(3)] == ["a"] * 3  # it is back


@pytest.mark.parametrize(("asked", "rest"), [(0.0, REST_FIRST), (120.0, 120.0)])
def test_a_host_rests_as_long_as_it_asks_for(asked, rest):
    made = lanes(a=2)
    made.take(0.0)
    made.land("a", 0.0, 5.0, rest=asked)
    assert made.ready_at() == 5.0 + rest


def test_rest_has_a_bound():
    made = lanes(a=50)
    moment = 0.0
    for _ in range(40):
        moment = made.ready_at()
        made.take(moment)
        made.land("a", moment, moment, rest=0.0)
    assert made.ready_at() - moment == REST_MOST


def test_what_waits_is_known_until_it_starts():
    made = lanes(a=1, b=1)
    assert len(made) == 2
    assert "a-0" in made
    made.take(0.0)
    assert "a-0" not in made
    made.clear()
    assert len(made) == 0
    assert made.take(9.0) is None


def test_what_waits_for_a_host_that_rests_can_be_dropped():
    made = lanes(a=3, b=3)
    made.take(0.0)
    made.land("a", 0.0, 1.0, rest=0.0)
    made.drop_resting()
    assert len(made) == 3
    assert {made.take(9.0 + n)[0] for n in range(3)} == {"b"}
