"""The list of attack cases is covered whole: every case of sections A to F has a test that names it.

The list lies beside the repository; where it is not, this is skipped, and says so.
"""

from __future__ import annotations

import re

import pytest

SECTIONS = {"A": 24, "B": 30, "C": 11, "D": 21, "E": 18, "F": 8}
ELSEWHERE = {"F08"}
"""Revoking at an issuer's endpoint: a matter of the issuer, which answers `unsupported_token_type`."""


def named(text):
    """Return the cases that a text names, with those inside "B08 to B12"."""
    found = set(re.findall(r"\b[A-F]\d\d\b", text))
    for section, first, last in re.findall(r"\b([A-F])(\d\d) to [A-F](\d\d)\b", text):
        found |= {f"{section}{number:02}" for number in range(int(first), int(last) + 1)}
    return found


@pytest.fixture
def listed(request):
    place = request.config.rootpath.parent / "shared" / "facts" / "attack-cases.md"
    if not place.is_file():
        pytest.skip("the list of attack cases is not beside the repository")
    return set(re.findall(r"^\| ([A-F]\d\d) \|", place.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_case_of_the_list_is_named_by_a_test(request, listed):
    assert {name: sum(case[0] == name for case in listed) for name in SECTIONS} == SECTIONS
    room = request.config.rootpath / "tests" / "jose"
    tests = set().union(*(named(file.read_text(encoding="utf-8")) for file in room.glob("test_[!a]*.py")))
    tests |= set().union(
        *(named((room / f"test_attacks_{name}.py").read_text()) for name in ("wire", "header", "claims"))
    )
    assert sorted(listed - tests - ELSEWHERE) == []
