"""A crash at every question of every plan: only a strict provider's answer that nobody saved is lost, and it says so."""

from __future__ import annotations

import pytest

from simulation.crashes import CASES, crashes
from simulation.manners import MANNERS

BY_NAME = {case.name: case for case in CASES}

STRICT = {"strict_family", "strict_refused", "silent", "short"}


def where(found) -> tuple[str, bool]:
    return found.question, found.after


@pytest.mark.parametrize("manner", MANNERS)
def test_a_refresh_loses_only_an_answer_that_was_not_saved_and_only_where_the_provider_is_strict(manner):
    found = list(crashes(BY_NAME["A refresh"], manner))
    sent = next(n for n, crash in enumerate(found) if where(crash) == ("send to the token endpoint", True))
    saved = next(n for n, crash in enumerate(found) if n > sent and where(crash) == ("swap the connection", True))
    for n, crash in enumerate(found):
        lost = manner in STRICT and sent <= n < saved
        assert crash.seen == ("reconnect: `crashed_mid_refresh`" if lost else "a token"), crash


@pytest.mark.parametrize("manner", MANNERS)
def test_a_connect_is_there_once_it_is_saved_and_before_that_a_person_is_told(manner):
    found = list(crashes(BY_NAME["Finishing a connect"], manner))
    seen = [crash.seen for crash in found]
    assert set(seen) == {"connected when the page is loaded again", "connect again: `state_used`", "connected"}
    assert seen == sorted(seen, key=["connected when the page is loaded again", *seen].index), "never back and forth"
    saved = next(n for n, crash in enumerate(found) if where(crash) == ("swap the connection", True))
    assert seen[saved:] == ["connected"] * len(seen[saved:])


@pytest.mark.parametrize("manner", MANNERS)
def test_a_machine_is_connected_at_the_latest_when_it_is_done_again(manner):
    seen = {crash.seen for crash in crashes(BY_NAME["Connecting a machine"], manner)}
    assert seen == {"connected", "connected when it is done again"}


@pytest.mark.parametrize("manner", MANNERS)
def test_a_disconnection_never_forgets_what_still_works(manner):
    for crash in crashes(BY_NAME["Disconnecting"], manner):
        assert crash.seen == "gone" or crash.seen.endswith("gone when it is done again (revoked)")


@pytest.mark.parametrize("manner", MANNERS)
def test_what_was_spilled_comes_home_whatever_crashes_on_the_way(manner):
    assert {crash.seen for crash in crashes(BY_NAME["Bringing home what was spilled"], manner)} == {"a token"}


def test_every_question_is_crashed_at_before_and_after():
    for case in CASES:
        found = list(crashes(case, "strict_family"))
        assert [crash.k for crash in found[::2]] == list(range(1, len(found) // 2 + 1))
        assert len(found) >= 8
