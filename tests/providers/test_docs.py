"""The page about providers is what the catalogue says, and the smallest file it shows works."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from pathlib import Path

import msgspec
import pytest

from valetkey.providers import Provider, keys, load, read
from valetkey.providers.facts import leaves

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "providers.md"


@pytest.fixture(scope="module")
def rendered():
    spec = importlib.util.spec_from_file_location("docs_providers", DOCS / "_providers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.render()


def test_the_committed_page_is_what_the_generator_writes(rendered):
    made_by, _blank, text = PAGE.read_text(encoding="utf-8").split("\n", 2)
    assert made_by.startswith("<!-- ")
    assert text == rendered, "run `make docs`"


@pytest.mark.parametrize("key", keys())
def test_every_provider_and_every_note_stands_in_the_page(key):
    page = PAGE.read_text(encoding="utf-8")
    assert f"| [`{key}`](#{key}) |" in page
    for note in load(key).notes:
        assert note in page


def test_every_member_of_the_schema_stands_in_the_page():
    page = PAGE.read_text(encoding="utf-8")
    for path in leaves(Provider(key="x", name="x"), defaults=True):
        assert f"| `{path.rsplit('.', 1)[-1]}` |" in page
    for struct in msgspec.structs.fields(Provider):
        assert f"| `{struct.name}` |" in page


def test_the_smallest_file_of_the_page_can_be_read():
    block = re.search(r"^( *)```toml\n(.*?)^ *```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert read(textwrap.dedent(block[2]), "page").key == "acme"


def test_no_row_of_a_table_is_broken():
    width = 0
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in {0, cells}, line
        width = cells
