"""Work that outlives its caller: shared, whoever leaves, and never waited for in vain."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from valetkey.errors import NotFound
from valetkey.vault.akeeper import landing
from valetkey.vault.flights import Flights
from vaultprocs import forked

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork")


class Work:
    """Work that begins, waits until it may go on, and ends as it is told."""

    def __init__(self, result="done"):
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.count, self.result = 0, result

    def __call__(self):
        self.count += 1
        self.begun.set()
        assert self.may_end.wait(30)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def flights():
    made = Flights()
    yield made
    made.wait()


def test_callers_of_one_key_share_one_piece_of_work(flights):
    work = Work()
    joined = [flights.join("key", work) for _ in range(50)]
    work.may_end.set()
    assert [landed.result() for landed in joined] == ["done"] * 50
    assert work.count == 1


def test_other_keys_have_work_of_their_own(flights):
    first, second = Work("first"), Work("second")
    joined = [flights.join("a", first), flights.join("b", second)]
    first.may_end.set()
    second.may_end.set()
    assert [landed.result() for landed in joined] == ["first", "second"]


def test_who_comes_after_the_landing_starts_anew(flights):
    assert flights.join("key", lambda: 1).result() == 1
    assert flights.join("key", lambda: 2).result() == 2


@pytest.mark.parametrize("failure", [NotFound("gone"), ValueError("odd"), KeyboardInterrupt(), SystemExit(3)])
def test_what_work_raises_all_its_callers_get_and_the_next_starts_anew(flights, failure):
    work = Work(failure)
    joined = [flights.join("key", work) for _ in range(3)]
    work.may_end.set()
    for landed in joined:
        with pytest.raises(type(failure)) as caught:
            landed.result()
        assert caught.value is failure
    assert flights.join("key", lambda: "again").result() == "again"


def test_an_impatient_caller_leaves_and_the_work_goes_on(flights):
    work = Work()
    landed = flights.join("key", work)
    with pytest.raises(TimeoutError):
        landed.result(timeout=0)
    assert flights.join("key", work) is landed, "the next caller finds it under way"
    work.may_end.set()
    assert landed.result() == "done"


def test_no_caller_can_cancel_it(flights):
    work = Work()
    landed = flights.join("key", work)
    assert landed.cancel() is False
    work.may_end.set()
    assert landed.result() == "done"


@posix
def test_an_interrupted_caller_leaves_and_the_work_goes_on(flights):
    work = Work()
    landed = flights.join("key", work)
    work.begun.wait(30)
    pressed = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))

    def call():
        pressed.start()
        landed.result()

    with pytest.raises(KeyboardInterrupt):
        call()
    pressed.join()
    work.may_end.set()
    assert landed.result() == "done"


async def test_a_cancelled_coroutine_leaves_and_the_work_goes_on(flights):
    work = Work()
    landed = flights.join("key", work)
    waiting = [asyncio.create_task(landing(landed)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    work.may_end.set()
    assert await asyncio.gather(*waiting[1:]) == ["done", "done"]


def test_a_loop_that_ended_does_not_disturb_the_work(flights):
    work = Work()
    landed = flights.join("key", work)

    async def leave():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(landing(landed), 0.01)

    asyncio.run(leave())
    work.may_end.set()
    assert landed.result() == "done"


def test_waiting_waits_for_all_and_raises_nothing(flights):
    ended = []

    def slow():
        time.sleep(0.02)
        ended.append(1)

    def fail():
        raise ValueError("not yours")

    flights.join("a", slow)
    flights.join("b", fail)
    flights.wait()
    assert ended == [1]


def test_a_thread_that_cannot_be_started_does_not_leave_others_waiting_for_it(flights, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            flights.join("key", lambda: "never")
    assert flights.join("key", lambda: "done").result(timeout=30) == "done"


@posix
def test_a_forked_child_neither_waits_for_the_parents_work_nor_takes_it_for_its_own(flights):
    work = Work("of the parent")
    landed = flights.join("key", work)
    work.begun.wait(30)

    def child():
        flights.wait()  # as a child does that closes the vault at once
        return flights.join("key", lambda: "of the child").result(timeout=30)

    assert forked(child) == "of the child"
    work.may_end.set()
    assert landed.result() == "of the parent"


@posix
def test_a_fork_while_the_lock_is_held_does_not_stop_the_child(flights):
    with flights._lock:
        assert forked(lambda: flights.join("key", lambda: "done").result(timeout=30)) == "done"


PROGRAM = """
import time
from valetkey.vault.flights import Flights

def work():
    time.sleep(0.2)
    print("saved", flush=True)

Flights().join("key", work)
{ending}
"""


@pytest.mark.parametrize(
    "ending", ["pass", "raise SystemExit(3)", "1 / 0", "import asyncio; asyncio.run(asyncio.sleep(0))"]
)
def test_the_interpreter_waits_for_it_at_exit(ending):
    program = PROGRAM.format(ending=ending)
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert told.stdout == "saved\n"
