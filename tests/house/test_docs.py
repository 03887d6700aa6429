"""The docs cannot lie: generated pages are current, every code is explained, every link leads somewhere."""

from __future__ import annotations

import importlib.util
import inspect
import re

import pytest

from valetkey import errors

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generated(root):
    spec = importlib.util.spec_from_file_location("valetkey_docs_generate", root / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def test_the_generated_pages_are_current(generated, no_offence):
    old = [page.name for page, text in generated.items() if not page.exists() or page.read_text() != text]
    no_offence([f"docs/{name} is not what the code says: run `make docs`" for name in old])


def test_every_error_class_and_its_code_stand_in_the_docs(root):
    page = (root / "docs" / "errors.md").read_text()
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ValetkeyError)]
    assert len(kinds) > 20
    missing = [kind.__name__ for kind in kinds if kind.__name__ not in page]
    missing += [kind.code for kind in kinds if f"`{kind.code}`" not in page and kind is not errors.ValetkeyError]
    assert missing == []


def test_every_code_given_where_an_error_is_raised_stands_in_the_docs(root, sources):
    page = (root / "docs" / "errors.md").read_text()
    given = {code for source in sources for code in re.findall(r"\bcode=\"([a-z_]+)\"", source.text)}
    assert [code for code in sorted(given) if f"`{code}`" not in page] == []


def markdown(root):
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def anchors(text: str) -> set[str]:
    """Return the anchors GitHub gives to headings: lower case, no punctuation, hyphens for blanks."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_between_the_pages_leads_somewhere(root, no_offence):
    broken = []
    for page in markdown(root):
        for link in LINK.findall(FENCE.sub("", page.read_text())):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name) if name else page
            if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
                broken.append(f"{page.relative_to(root)}: {link}")
    no_offence(broken)


def test_contributing_names_every_verb_of_the_makefile(root):
    verbs = re.findall(r"^([a-z]+):.*## ", (root / "Makefile").read_text(), re.MULTILINE)
    page = (root / "docs" / "contributing.md").read_text()
    assert len(verbs) > 5
    assert [verb for verb in verbs if f"make {verb}" not in page] == []
