"""A crash at every question of every plan: only a strict provider's answer that nobody saved is lost, and it says so."""

from __future__ import annotations

import inspect
import sys
from functools import cache

import pytest

from simulation.crashes import Crash, crashes, uncrashed
from simulation.manners import MANNERS
from simulation.othercrashes import ALL
from valetkey.vault import (
    connect,
    disconnect,
    notices,
    proving,
    publishing,
    recover,
    registry,
    renew,
    rotation,
    saving,
    schedule,
)

BY_NAME = {case.name: case for case in ALL}

STRICT = {"strict_family", "strict_refused", "silent", "short"}


@cache
def crashed(name: str, manner: str) -> tuple[Crash, ...]:
    return tuple(crashes(BY_NAME[name], manner))


def where(found) -> tuple[str, bool]:
    return found.question, found.after


@pytest.mark.parametrize("case", ["A refresh", "A refresh with a client secret kept elsewhere"])
@pytest.mark.parametrize("manner", MANNERS)
def test_a_refresh_loses_only_an_answer_that_was_not_saved_and_only_where_the_provider_is_strict(manner, case):
    found = crashed(case, manner)
    sent = next(n for n, crash in enumerate(found) if where(crash) == ("send to the token endpoint", True))
    saved = next(n for n, crash in enumerate(found) if n > sent and where(crash) == ("swap the connection", True))
    for n, crash in enumerate(found):
        lost = manner in STRICT and sent <= n < saved
        assert crash.seen == ("reconnect: `crashed_mid_refresh`" if lost else "a token"), crash


@pytest.mark.parametrize("manner", MANNERS)
def test_a_connect_is_there_once_it_is_saved_and_before_that_a_person_is_told(manner):
    found = crashed("Finishing a connect", manner)
    seen = [crash.seen for crash in found]
    assert set(seen) == {"connected when the page is loaded again", "connect again: `state_used`", "connected"}
    assert seen == sorted(seen, key=["connected when the page is loaded again", *seen].index), "never back and forth"
    saved = next(n for n, crash in enumerate(found) if where(crash) == ("swap the connection", True))
    assert seen[saved:] == ["connected"] * len(seen[saved:])


@pytest.mark.parametrize("manner", MANNERS)
def test_a_machine_is_connected_at_the_latest_when_it_is_done_again(manner):
    seen = {crash.seen for crash in crashed("Connecting a machine", manner)}
    assert seen == {"connected", "connected when it is done again"}


@pytest.mark.parametrize("manner", MANNERS)
def test_a_disconnection_never_forgets_what_still_works(manner):
    for crash in crashed("Disconnecting", manner):
        assert crash.seen == "gone" or crash.seen.endswith("gone when it is done again (revoked)")


@pytest.mark.parametrize("manner", MANNERS)
def test_what_was_spilled_comes_home_whatever_crashes_on_the_way(manner):
    assert {crash.seen for crash in crashed("Bringing home what was spilled", manner)} == {"a token"}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize(
    ("name", "told"), [("A refresh for another target", ""), ("A refresh by the schedule", ", told")]
)
def test_the_other_refreshes_lose_no_more_than_a_callers(name, told, manner):
    for one, other in zip(crashed("A refresh", manner), crashed(name, manner), strict=True):
        lost = one.seen != "a token"
        assert where(one) == where(other)
        assert other.seen == one.seen + (told if lost else "")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        (
            "Beginning a connect",
            {"another link works", "another link works; the one nobody saw is swept after ten minutes"},
        ),
        ("Beginning a device flow", {"another code works"}),
        ("Forgetting a link that has expired", {"forgotten at the next look", "forgotten"}),
        ("Marking as revoked", {"works still; revoked when it is done again", "revoked"}),
        ("Putting news down", {"waits to be told 1 time, and is not put down again"}),
        ("Carrying news", {"told once", "told twice, under one identifier"}),
        ("The daily survey", {"done at the next look", "done by another half an hour later", "done"}),
        ("Adding an app", {"there when it is done again", "there"}),
        ("Removing an app", {"gone when it is done again", "gone"}),
        ("Adding who listens", {"there when it is done again", "there"}),
        ("Removing who listens", {"gone when it is done again", "gone"}),
        ("Beginning to publish", {"there when it is done again", "there"}),
        ("Writing a token where it is published", {"written once", "written twice, the same"}),
        ("Publishing no more and leaving what stands", {"gone when it is done again", "gone"}),
        ("Publishing no more", {"there; gone when it is done again", "gone at the next look", "gone"}),
    ],
)
def test_what_was_broken_off_is_done_at_the_latest_when_it_is_done_again(name, seen):
    assert {crash.seen for crash in crashed(name, "strict_family")} == seen


USED = {"old": "the old one is used, the new one staged", "new": "the new one is used, the old one kept"}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("Staging a client secret", "staged when it is done again", "staged"),
        ("Promoting a staged secret", f"{USED['old']} until it is done again", USED["new"]),
        ("Rolling back to the previous secret", f"{USED['new']} until it is done again", USED["old"]),
        ("Forgetting a secret", "forgotten when it is done again", "forgotten"),
        ("Forgetting a secret that has ended", "forgotten at the next look", "forgotten"),
    ],
)
def test_each_step_of_changing_a_secret_is_done_or_not_done_and_costs_nobody_a_token(name, before, after, manner):
    found = crashed(name, manner)
    swapped = next(n for n, crash in enumerate(found) if where(crash) == ("swap the app", True))
    assert [crash.seen for crash in found] == [
        f"a token; {before if n < swapped else after}" for n in range(len(found))
    ]


@pytest.mark.parametrize("manner", MANNERS)
def test_a_trial_loses_no_more_than_a_refresh_and_counts_only_once_it_is_written_down(manner):
    refreshed = {where(crash): crash.seen for crash in crashed("A refresh", manner)}
    found = crashed("Trying a staged secret", manner)
    sent = next(n for n, crash in enumerate(found) if where(crash) == ("send to the token endpoint", True))
    saved = next(n for n, crash in enumerate(found) if where(crash) == ("swap the connection", True) and n > sent)
    noted = next(n for n, crash in enumerate(found) if where(crash) == ("swap the app", True))
    assert refreshed["send to the token endpoint", True] == found[sent].seen.partition(";")[0]
    for n, crash in enumerate(found):
        lost = manner in STRICT and sent <= n < saved
        token = "reconnect: `crashed_mid_refresh`" if lost else "a token"
        assert crash.seen == f"{token}; {'it may be promoted' if n >= noted else 'to be tried again'}"


@pytest.mark.parametrize("manner", MANNERS)
def test_a_refresh_that_turns_to_the_other_secret_loses_only_the_answer_that_nobody_saved(manner):
    found = crashed("A refresh that turns to the other secret", manner)
    (_, sent) = (n for n, crash in enumerate(found) if where(crash) == ("send to the token endpoint", True))
    saved = next(n for n, crash in enumerate(found) if where(crash) == ("swap the connection", True) and n > sent)
    for n, crash in enumerate(found):
        lost = manner in STRICT and sent <= n < saved
        assert crash.seen == (
            f"reconnect: `crashed_mid_refresh`; {USED['old']}" if lost else f"a token; {USED['new']}"
        ), "the refused first request spent nothing"


def test_every_question_is_crashed_at_before_and_after():
    for case in ALL:
        found = crashed(case.name, "strict_family")
        assert [crash.k for crash in found[::2]] == list(range(1, len(found) // 2 + 1))
        assert len(found) >= 6


def test_every_plan_that_may_be_run_is_crashed_in():
    """Plans are what the keeper, the refresher and the command line run; each public one is part of a case."""
    begun = {"connect": connect, "disconnect": disconnect, "notices": notices, "registry": registry, "renew": renew}
    begun |= {"recover": recover, "schedule": schedule, "saving": saving}
    begun |= {"rotation": rotation, "proving": proving, "publishing": publishing}
    public = {
        name
        for module in begun.values()
        for name, made in vars(module).items()
        if inspect.isgeneratorfunction(made) and made.__module__ == module.__name__ and not name.startswith("_")
    }
    seen: set[str] = set()

    def look(frame, event, _arg):
        if event == "call" and frame.f_code.co_name in public:
            seen.add(frame.f_code.co_name)

    sys.setprofile(look)
    try:
        for case in ALL:
            uncrashed(case, "strict_family")
    finally:
        sys.setprofile(None)
    assert public - seen == set()
