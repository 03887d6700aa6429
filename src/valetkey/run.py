"""The only two loops that touch the world: `run` for the sync world, `arun` for the async one.

A world answers one question at a time. What it raises is thrown into the plan, which may handle it; what the
plan lets through reaches the caller.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from valetkey.effects import Effect, Plan

T = TypeVar("T")


class World(Protocol):
    """Answer a question, or raise a ValetkeyError."""

    def answer(self, question: Effect, /) -> Any:
        """Answer; blocks while the question needs it."""


class AsyncWorld(Protocol):
    """Answer a question without blocking the event loop, or raise a ValetkeyError."""

    async def answer(self, question: Effect, /) -> Any:
        """Answer."""


def run(plan: Plan[T], world: World) -> T:
    """Drive a plan to its end in the calling thread; raises what the plan raises."""
    try:
        question = next(plan)
        while True:
            try:
                answer = world.answer(question)
            except Exception as refusal:  # noqa: BLE001  # the plan decides what it can handle; it re-raises the rest
                question = plan.throw(refusal)
            else:
                question = plan.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        plan.close()


async def arun(plan: Plan[T], world: AsyncWorld) -> T:
    """Drive a plan to its end in the running event loop; raises what the plan raises."""
    try:
        question = next(plan)
        while True:
            try:
                answer = await world.answer(question)
            except Exception as refusal:  # noqa: BLE001  # the plan decides what it can handle; it re-raises the rest
                question = plan.throw(refusal)
            else:
                question = plan.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        plan.close()
