"""Every kind of event that is written anywhere stands in the table of audit/kinds.py, as it is written, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from valetkey.audit.kinds import KINDS

KIND = re.compile(r"[a-z]+\.[a-z_]+")

MAKERS = {"note", "_note", "Event", "_tell", "_say"}
"""Who takes a kind first. Those with an underscore pass one on; others are called so too, and take other words."""

HOWS = {"note": "noted", "tell": "told", "count": "counted"}
"""Methods of the recorder, which are given an event."""

TOLD_AGAIN = "_repeated"
"""In the recorder: writes what was counted, whose kind was looked at where it was counted."""


def name_of(function: ast.expr) -> str:
    return getattr(function, "attr", "") or getattr(function, "id", "")


def kinds_of(node: ast.expr, function: ast.AST | None) -> Iterator[str | None]:
    """Give the kinds an expression can be, looking up a local name; None for what cannot be told."""
    if isinstance(node, ast.Constant):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from kinds_of(node.body, function)
        yield from kinds_of(node.orelse, function)
    elif isinstance(node, ast.Name) and function is not None:
        found = list(assigned(node.id, function))
        yield from found or [None]
    else:
        yield None


def assigned(name: str, function: ast.AST) -> Iterator[str | None]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == name:
                yield from kinds_of(node.value, None)
            elif isinstance(target, ast.Tuple):
                names = [getattr(one, "id", "") for one in target.elts]
                if name not in names:
                    continue
                values = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
                for value in values:
                    yield from kinds_of(value.elts[names.index(name)] if isinstance(value, ast.Tuple) else value, None)


@cache
def written(source) -> list[tuple[int, str | None, str]]:
    """Return every event of a file: its line, its kind, and how it is written where that can be seen."""
    return list(_written(source)) if any(f"{maker}(" in source.text for maker in MAKERS) else []


def _written(source) -> Iterator[tuple[int, str | None, str]]:
    functions = [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = {id(call): function for function in functions for call in ast.walk(function)}  # the innermost comes last
    hows = {
        id(argument): HOWS[name_of(call.func)]
        for call in ast.walk(source.tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and name_of(call.func) in HOWS
        for argument in call.args
    }
    for call in ast.walk(source.tree):
        if not isinstance(call, ast.Call) or name_of(call.func) not in MAKERS or not call.args:
            continue
        function = inner.get(id(call))
        if getattr(function, "name", "") in {*MAKERS, TOLD_AGAIN}:
            continue  # what passes on what it was given
        if isinstance(call.func, ast.Attribute) and name_of(call.func) == "note":
            continue  # the recorder's, which is given an event: that is looked at where it is made
        for kind in kinds_of(call.args[0], function):
            if name_of(call.func).startswith("_") and not (kind and KIND.fullmatch(kind)):
                continue
            yield call.lineno, kind, "noted" if name_of(call.func).endswith("note") else hows.get(id(call), "")


def offences(source) -> Iterator[str]:
    for line, kind, how in written(source):
        if kind is None:
            yield f"{source.at(line)}: its kind cannot be read here; write it out"
        elif kind not in KINDS:
            yield f"{source.at(line)}: {kind} does not stand in audit/kinds.py"
        elif how and how != KINDS[kind].how:
            yield f"{source.at(line)}: {kind} is {how}, and the table says {KINDS[kind].how}"


def test_every_event_that_is_written_stands_in_the_table(sources, no_offence):
    no_offence([one for source in sources for one in offences(source)])


def test_every_kind_of_the_table_is_written_somewhere(sources):
    used = {kind for source in sources for _, kind, _ in written(source)}
    assert set(KINDS) - used == set()


def test_kinds_are_a_noun_and_a_verb():
    assert [kind for kind in KINDS if not KIND.fullmatch(kind)] == []


@pytest.mark.parametrize(
    "text",
    [
        'yield from note("app.painted", name)',
        'audit.tell(Event("token.painted", name))',
        'audit.tell(Event("token.handed_out", name))',
        'audit.count(Event("app.added", name))',
        'yield from note("app.added" if new else "app.painted", name)',
        "yield from note(word(), name)",
        "audit.note(Event(kind, name))",
        'kind, outcome = ("token.painted", 1) if new else ("token.injected", 2)\n    audit.count(Event(kind, name))',
    ],
)
def test_an_event_that_is_not_in_the_table_is_found(snippet, text):
    assert len(list(offences(snippet(f"def f(kind, name):\n    {text}\n")))) == 1


@pytest.mark.parametrize(
    "text",
    [
        'yield from note("app.added" if new else "app.replaced", name)',
        'kind, outcome = ("token.withheld", 1) if new else ("token.injected", 2)\n    audit.count(Event(kind, name))',
        "stop = threading.Event()",
        'self._tell("renewed", name)',
    ],
)
def test_an_event_of_the_table_is_none(snippet, text):
    assert list(offences(snippet(f"def f(name):\n    {text}\n"))) == []
