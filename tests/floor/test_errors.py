"""The errors: the tree drawn on top of errors.py is the tree, and every class keeps its promises."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import subprocess
import sys
import traceback

import pytest

from valetkey import errors
from valetkey.errors import ProviderError, TokenRefused, Weather
from valetkey.failure import ValetkeyError

CLASSES = [thing for thing in vars(errors).values() if inspect.isclass(thing) and issubclass(thing, ValetkeyError)]
ROOTS = {cls for cls in CLASSES if any(cls in other.__bases__ for other in CLASSES)}

SHARED = {("Weather", "ProviderUnavailable")}
"""Classes that share a code on purpose: the root of weather, raised itself, is the plainest weather."""

OWN_CODES = {"RequestRefused", "TokenRefused"}
"""Classes whose code is given when they are raised: the provider's, or jose's reason."""


def drawn() -> dict[str, tuple[str, str]]:
    """Read the tree: each name with its parent and what stands beside it."""
    rows, path = {}, ["ValetkeyError"]
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ((?:│   |    )*)[├└]── (\w+) *(.*)", line):
            depth = len(match[1]) // 4 + 1
            path[depth:] = [match[2]]
            rows[match[2]] = (path[depth - 1], match[3])
    return rows


def make(cls: type[ValetkeyError]) -> ValetkeyError:
    if cls is TokenRefused:
        return TokenRefused("expired", "too late", claim="exp", expected="now", got="then", fix="hurry")
    return cls("it broke", code="special", cause="rust", fix="oil", status=400, description="d", sent=False, reason="r")


def test_every_class_is_drawn_under_its_parent_and_nothing_else_is():
    assert {name: parent for name, (parent, _) in drawn().items()} == {
        cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES if cls is not ValetkeyError
    }


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls not in ROOTS], ids=lambda cls: cls.__name__)
def test_every_leaf_has_a_code_of_its_own_and_it_is_drawn(cls):
    assert "code" in vars(cls)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", cls.code)
    if cls.__name__ not in OWN_CODES:
        assert re.search(rf"\b{cls.code}\b", errors.__doc__), "the drawing does not show the code"


def test_no_two_classes_share_a_code_unless_they_are_listed():
    twins = {
        (one.__name__, other.__name__)
        for number, one in enumerate(CLASSES)
        for other in CLASSES[number + 1 :]
        if one.code == other.code
    }
    assert twins == SHARED


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_has_an_exit_code_that_a_shell_knows(cls):
    assert 1 <= cls.exit_code <= 125


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
)
def test_an_error_survives_pickling_and_copying_whole(cls, again):
    error = make(cls)
    twin = again(error)
    assert type(twin) is cls
    assert twin.to_dict() == error.to_dict()
    assert twin.explain() == error.explain()
    assert str(twin) == str(error) == error.message
    assert twin.args == error.args
    assert twin.__notes__ == error.__notes__


def test_an_error_explains_itself_in_lines():
    error = ProviderError("it broke", code="rusty", cause="rust", fix="oil")
    assert error.explain() == "it broke [rusty]\n  cause: rust\n  fix:   oil"
    assert ValetkeyError("it broke").explain() == "it broke [error]"


def test_a_refused_token_explains_what_was_wanted_and_what_came():
    assert make(TokenRefused).explain() == "too late [expired]\n  expected: now\n  got:      then\n  fix:      hurry"
    assert TokenRefused("expired", fix="hurry").explain() == "expired [expired]\n  fix:   hurry"


def tail(error: ValetkeyError) -> str:
    """Return what a traceback shows of the error itself."""
    return "".join(traceback.format_exception_only(error))


def test_a_traceback_shows_cause_and_fix_once():
    error = ProviderError("it broke", cause="rust", fix="oil")
    assert tail(error) == "valetkey.errors.ProviderError: it broke\n  cause: rust\n  fix:   oil\n"
    assert tail(ValetkeyError("it broke")) == "valetkey.failure.ValetkeyError: it broke\n"
    assert "  expected: now\n  got:      then\n" in tail(make(TokenRefused))


def test_what_python_itself_prints_of_an_uncaught_error_ends_with_cause_and_fix():
    program = "from valetkey.errors import ProviderError\nraise ProviderError('it broke', cause='rust', fix='oil')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("\nvaletkey.errors.ProviderError: it broke\n  cause: rust\n  fix:   oil\n")
    assert done.stderr.count("  cause:") == done.stderr.count("  fix:") == 1


def test_a_traceback_shows_the_fix_as_it_is_now():
    error = ProviderError("it broke", fix="oil")
    assert error.__notes__ == ["  fix:   oil"]
    error.cause, error.fix = "rust", "grease"
    assert tail(error).splitlines()[1:] == ["  cause: rust", "  fix:   grease"]


def test_notes_of_others_stand_below_and_are_not_doubled():
    error = ProviderError("it broke", fix="oil")
    error.add_note("in the cellar")
    error.fix = "grease"
    assert tail(error).splitlines()[1:] == ["  fix:   grease", "in the cellar"]
    again = pickle.loads(pickle.dumps(error))
    again.__notes__ = [*again.__notes__, "at night"]  # as tools carry notes from one exception to another
    assert tail(again).splitlines()[1:] == ["  fix:   grease", "in the cellar", "at night"]
    assert tail(error).splitlines()[1:] == ["  fix:   grease", "in the cellar"]
    with pytest.raises(TypeError):
        error.add_note(7)


def test_an_error_is_a_dict_for_programs_without_what_is_empty():
    error = ProviderError("it broke", cause="rust", status=400)
    assert error.to_dict() == {
        "code": "provider_error",
        "message": "it broke",
        "cause": "rust",
        "evidence": {"status": 400},
    }
    assert ValetkeyError("it broke").to_dict() == {"code": "error", "message": "it broke"}


def test_a_refused_token_is_a_dict_with_its_claim():
    assert make(TokenRefused).to_dict() == {
        "code": "expired",
        "message": "too late",
        "fix": "hurry",
        "claim": "exp",
        "expected": "now",
        "got": "then",
    }
    assert str(TokenRefused("expired")) == "expired"


def test_what_an_error_is_given_goes_before_what_its_class_says():
    plain, given = errors.GrantRefused("no"), errors.GrantRefused("no", code="c", cause="w", fix="f")
    assert (plain.code, plain.cause, plain.fix) == ("invalid_grant", errors.GrantRefused.cause, errors.GrantRefused.fix)
    assert (given.code, given.cause, given.fix) == ("c", "w", "f")
    assert errors.GrantRefused.code == "invalid_grant"


def test_evidence_cannot_be_changed():
    with pytest.raises(TypeError):
        Weather("x", sent=False).evidence["sent"] = True


def test_evidence_is_read_through_properties():
    error = ProviderError("x", status=400, description="y" * 1000)
    assert (error.status, len(error.description)) == (400, errors.PROVIDER_TEXT_LIMIT)
    assert (ProviderError("x").status, ProviderError("x").description) == (0, "")
    assert (Weather("x", retry_after=7).retry_after, Weather("x").retry_after) == (7.0, 0.0)
    assert errors.NeedsReconnect("x", reason="answer_lost").reason == "answer_lost"
    assert errors.KeyRefused("x").reason == "key_invalid"


def test_weather_may_have_arrived_unless_it_surely_has_not():
    assert Weather("x").sent
    assert Weather("x", sent=True).sent
    assert not Weather("x", sent=False).sent
