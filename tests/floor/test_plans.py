"""The words of a plan, and the two loops that answer them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable

import pytest

from valetkey import effects
from valetkey.effects import Event, Load, Luck, Note, Now, Resolve, Resolved, Send, Sleep, Spill, Spilled, Swap
from valetkey.errors import ProviderTimeout, StoreUnavailable, ValetkeyError
from valetkey.run import arun, run
from valetkey.values import Entry, Request, Response, Secret

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
REQUEST = Request("GET", "https://login.example/")
ENTRY = Entry("active", b"box")

FOUND = Resolved(Secret("s3cr3t"))

WORDS = [
    (effects.send(REQUEST), Send(REQUEST), Response(200), Response(200)),
    (effects.load("a"), Load("a"), ENTRY, ENTRY),
    (effects.load("a"), Load("a"), None, None),
    (effects.swap("a", 3, ENTRY), Swap("a", 3, ENTRY), True, True),
    (effects.swap("a", 3, None), Swap("a", 3, None), False, False),
    (effects.sleep(1.5), Sleep(1.5), None, None),
    (effects.now(), Now(), NOON, NOON),
    (effects.note("refresh.started", "google/alice"), Note(Event("refresh.started", "google/alice")), None, None),
    (
        effects.note("refresh.failed", "google/alice", "failed", "weather", code="x"),
        Note(Event("refresh.failed", "google/alice", "failed", "weather", {"code": "x"})),
        None,
        None,
    ),
    (effects.luck(2), Luck(2), b"ab", b"ab"),
    (effects.spill("a", ENTRY), Spill("a", ENTRY), None, None),
    (effects.spilled("a"), Spilled("a"), ENTRY, ENTRY),
    (effects.resolve("env:A", "fresh"), Resolve("env:A", "fresh"), FOUND, FOUND),
]


@pytest.mark.parametrize(("plan", "question", "answer", "result"), WORDS, ids=lambda value: type(value).__name__)
def test_a_word_asks_one_question_and_gives_its_answer(plan, question, answer, result):
    assert next(plan) == question
    with pytest.raises(StopIteration) as end:
        plan.send(answer)
    assert end.value.value == result


def test_every_effect_has_a_word():
    kinds = set(effects.Effect.__args__)
    assert kinds == {type(question) for _, question, _, _ in WORDS}


class World:
    """Answer from a list, in order; what is an exception is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.asked = list(answers), []

    def answer(self, question):
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class AsyncWorld(World):
    async def answer(self, question):
        await asyncio.sleep(0)
        return super().answer(question)


@pytest.fixture(params=["run", "arun"])
def drive(request: pytest.FixtureRequest) -> Callable:
    """Drive a plan with answers, in either world; give back its result and what it asked."""

    def drive(plan, *answers):
        if request.param == "run":
            world = World(*answers)
            return run(plan, world), world.asked
        world = AsyncWorld(*answers)
        return asyncio.run(arun(plan, world)), world.asked

    return drive


def patient(diary: list[str]):
    """Load, and load once more where the store is away; keep a diary of how it ended."""
    try:
        try:
            entry = yield from effects.load("first")
        except StoreUnavailable as error:
            diary.append(error.code)
            entry = yield from effects.load("second")
        moment = yield from effects.now()
    except GeneratorExit:
        diary.append("closed")
        raise
    finally:
        diary.append("end")
    return entry, moment


def test_answers_reach_the_plan_and_its_result_the_caller(drive):
    diary = []
    assert drive(patient(diary), ENTRY, NOON) == ((ENTRY, NOON), [Load("first"), Now()])
    assert diary == ["end"]


def test_what_the_world_raises_can_be_handled_by_the_plan(drive):
    diary = []
    result, asked = drive(patient(diary), StoreUnavailable("away"), ENTRY, NOON)
    assert (result, asked) == ((ENTRY, NOON), [Load("first"), Load("second"), Now()])
    assert diary == ["store_unavailable", "end"]


@pytest.mark.parametrize("error", [ProviderTimeout("slow"), RuntimeError("a bug in the world"), TimeoutError()])
def test_what_the_plan_does_not_handle_reaches_the_caller_as_it_is(drive, error):
    diary = []
    with pytest.raises(type(error)) as caught:
        drive(patient(diary), error)
    assert caught.value is error
    assert diary == ["end"]


def test_what_the_world_raises_while_the_plan_handles_something_reaches_the_caller(drive):
    diary, second = [], StoreUnavailable("still away")
    with pytest.raises(StoreUnavailable) as caught:
        drive(patient(diary), StoreUnavailable("away"), second)
    assert caught.value is second
    assert diary == ["store_unavailable", "end"]


def test_an_error_of_the_plan_itself_reaches_the_caller(drive):
    def plan():
        yield Now()
        raise ValetkeyError("no")

    with pytest.raises(ValetkeyError, match="no"):
        drive(plan(), NOON)


def test_a_plan_that_asks_nothing_ends_at_once(drive):
    def plan():
        return 7
        yield

    assert drive(plan()) == (7, [])


class Stop(BaseException):
    """Be something that no plan may handle."""


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, Stop])
def test_what_stops_the_program_passes_by_the_plan_which_is_closed(stop):
    diary = []
    with pytest.raises(stop):
        run(patient(diary), World(stop()))
    assert diary == ["closed", "end"]


async def test_what_stops_the_program_passes_by_the_plan_in_the_async_world_too():
    diary = []
    with pytest.raises(Stop):
        await arun(patient(diary), AsyncWorld(Stop()))
    assert diary == ["closed", "end"]


def greedy(diary: list[str]):
    """Handle every Exception, as a careless plan might."""
    while True:
        try:
            yield Now()
        except Exception as error:  # noqa: BLE001  # the point of the test
            diary.append(type(error).__name__)


async def test_a_cancelled_task_is_cancelled_although_its_plan_handles_every_exception():
    diary, waiting = [], asyncio.Event()

    class Silent:
        async def answer(self, question):
            waiting.set()
            await asyncio.Event().wait()

    plan = greedy(diary)
    task = asyncio.create_task(arun(plan, Silent()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert plan.gi_frame is None, "the plan was left open"
    assert diary == []


def test_a_plan_is_closed_when_it_fails(drive):
    plan = patient([])
    with pytest.raises(ProviderTimeout):
        drive(plan, ProviderTimeout("slow"))
    assert plan.gi_frame is None


def test_a_world_that_raises_stop_iteration_does_not_end_the_plan_quietly(drive):
    """PEP 479: it must not be taken for the plan's own return."""
    with pytest.raises(RuntimeError):
        drive(patient([]), StopIteration("forged result"))
