"""No file over 400 lines, no function over 40, no more than 5 positional parameters.

A ceiling that hurts is a sign that a room wants a wall: move the wall, do not raise the ceiling.
"""

from __future__ import annotations

import ast

import pytest

FILE_LINES = 400  # the well-liked code bases of this field have a median of 75 to 155; people complain of the outliers
FUNCTION_LINES = 40  # from `def` to the last line, docstring included: what fits on a screen
POSITIONAL = 5  # seven strings in a row are how a secret ends up where a URL belongs


def too_long(source) -> list[str]:
    lines = source.text.count("\n")
    return [f"{source.at(1)}: {lines} lines"] if lines > FILE_LINES else []


def functions(source):
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def long_functions(source) -> list[str]:
    sizes = [(node, node.end_lineno - node.lineno + 1) for node in functions(source)]
    return [f"{source.at(node.lineno)}: {node.name} has {n} lines" for node, n in sizes if n > FUNCTION_LINES]


def many_parameters(source) -> list[str]:
    found = []
    for node in functions(source):
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        counted = [name for name in names if name not in {"self", "cls"}]
        if len(counted) > POSITIONAL:
            found.append(f"{source.at(node.lineno)}: {node.name} takes {len(counted)}; make them keyword-only")
    return found


@pytest.mark.parametrize("rule", [too_long, long_functions, many_parameters])
def test_no_ceiling_is_broken(sources, rule, no_offence):
    no_offence([line for source in sources for line in rule(source)])


def test_a_file_of_400_lines_is_the_last_that_passes(snippet):
    assert [len(too_long(snippet("x = 1\n" * lines))) for lines in (400, 401)] == [0, 1]


def test_a_function_of_40_lines_is_the_last_that_passes(snippet):
    bodies = ["async def f():\n" + "    x = 1\n" * (lines - 1) for lines in (40, 41)]
    assert [len(long_functions(snippet(body))) for body in bodies] == [0, 1]


def test_five_positional_parameters_are_the_last_that_pass(snippet):
    heads = ["def f(a, b, c, d, e, *, f, g): ...", "def f(self, a, b, c, d, e): ...", "def f(a, b, /, c, d, e, f): ..."]
    assert [len(many_parameters(snippet(head))) for head in heads] == [0, 0, 1]
