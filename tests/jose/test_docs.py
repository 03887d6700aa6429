"""The pages about tokens cannot lie: their examples run, and every reason stands in them."""

from __future__ import annotations

import re

import pytest

from valetkey.jose.reasons import KEY_REASONS, REASONS

EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(request):
    root = request.config.rootpath
    return lambda name: (root / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["jose.md", "coming-from-pyjwt.md"])
def test_the_examples_of_a_page_run_one_after_the_other(page, name):
    names = {}
    found = EXAMPLE.findall(page(name))
    assert len(found) > 4
    for number, example in enumerate(found):
        exec(compile(example, f"{name}, example {number}", "exec"), names)


def test_every_reason_stands_in_its_page_with_status_and_fix(page):
    text = page("jose.md")
    rows = [f"| `{word}` | {reason.status} | {reason.fix} |" for word, reason in REASONS.items()]
    assert [row for row in rows if row not in text] == []
    assert [word for word in KEY_REASONS if f"`{word}`" not in text] == []


def test_only_reasons_of_the_list_are_given(request):
    rooms = request.config.rootpath / "src" / "valetkey" / "jose"
    text = "\n".join(file.read_text(encoding="utf-8") for file in rooms.glob("*.py"))
    given = set(re.findall(r'(?<!_)refused\(\s*"([a-z_]+)"', text))
    assert given <= set(REASONS)
    assert len(given) > 20
    assert set(re.findall(r'key_refused\(\s*"([a-z_]+)"', text)) == set(KEY_REASONS)
