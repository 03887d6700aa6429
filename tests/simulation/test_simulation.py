"""The simulation itself: nothing is violated, every fault happens, a failure replays and shrinks, planted bugs are found."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from simulation.knowledge import Violation
from simulation.mutants import BY_NAME, MUTANTS, Mutant, caught, plant
from simulation.play import episode_seed, play, play_many
from simulation.scenario import CALLERS, HITS, REKEYS, SPELLS, generate
from simulation.shrink import shrink


def test_seventy_thousand_steps_violate_nothing_and_meet_every_fault():
    result = play_many(2027, 70_000)
    assert result.failed == []
    missed = [kind for kind in (*HITS, *SPELLS) if not result.seen[f"fault {kind}"]]
    assert missed == []
    assert all(result.seen[f"{kind}: ok"] for kind in (*CALLERS, *REKEYS))
    assert all(result.seen[f"resealed {became}"] for became in ("sealed", "current", "held", "gone"))
    assert result.seen["keys retired"]
    for reason in ("crashed_mid_refresh", "answer_lost", "server_error", "bad_answer", "invalid_grant"):
        assert result.seen[f"needs_reconnect {reason}"]
    assert result.seen["spilled"]
    assert result.seen["secret refused"], "no provider refused a secret that was rotated away"
    assert result.seen["secret fresh"]
    assert result.seen["log refresh.recovered"]
    assert result.seen["rests active"] > 10 * result.seen["rests needs_reconnect"]


def test_steps_of_a_seed_nobody_has_seen_violate_nothing():
    seed = secrets.randbits(32)
    print(f"make simulate SEED={seed}")
    assert play_many(seed, 20_000).failed == []


def test_without_faults_nobody_is_refused_anything_by_a_provider():
    for number in range(60):
        drawn = generate(episode_seed(7, number))
        callers = tuple(caller for caller in drawn.callers if caller.kind != "disconnect")
        calm = replace(drawn, callers=callers, hits=(), spells=())
        trace: list[str] = []
        assert play(calm, trace=trace)[1] is None
        # A grant with a fixed end ends; nothing else does.
        if not any(place.manner == "fixed_end" for place in calm.places):
            assert not any("invalid_grant" in line for line in trace)


@pytest.mark.parametrize("number", range(5))
def test_an_episode_replays_exactly(number):
    scenario = replace(generate(episode_seed(11, number)), sealed=False)
    traces: list[list[str]] = [[], []]
    for trace in traces:
        play(scenario, trace=trace)
    assert len(traces[0]) > 50
    assert traces[0] == traces[1]


def test_a_failure_shrinks_to_what_it_needs():
    mutant = BY_NAME["no lease"]
    episode, _ = caught(mutant, 1, 100_000).failed[0]
    whole = generate(episode)
    with plant(mutant):
        small = shrink(whole)
        trace: list[str] = []
        _steps, violation = play(small, trace=trace)
    assert violation is not None
    assert (small.hits, small.spells) == ((), ()), "no fault is needed for it"
    assert len(small.callers) == 2
    assert len(trace) < 60
    assert play(small)[1] is None, "without the bug it is sound"


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_a_planted_bug_is_caught(name):
    assert caught(BY_NAME[name], BY_NAME[name].seed, 300_000).failed


def test_a_bug_cannot_be_planted_beside_the_code():
    with pytest.raises(AttributeError), plant(Mutant("gone", "replaces nothing", ((Violation, "no_such_name", 0),))):
        raise AssertionError("planted")


def test_every_planted_bug_stands_in_the_docs(request):
    page = (request.config.rootpath / "docs" / "simulation.md").read_text()
    assert [mutant.name for mutant in MUTANTS if f"| {mutant.name} |" not in page] == []
