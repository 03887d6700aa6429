"""What is committed works everywhere: no registry's address, no path of one machine, no lock with addresses in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

# Written so that the patterns do not find themselves.
REGISTRY = re.compile(
    r"\b(?:[\w-]+\.)?(?:pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|yarnpkg[.]com|crates[.]io|proxy[.]golang[.]org)"
)
MACHINE = re.compile(r"(?<![\w./:*{}-])/(?:home|root|work|Users)(?=[/\s'\"`]|$)", re.MULTILINE)


@pytest.fixture(scope="module")
def tracked(root) -> dict[str, str]:
    if not shutil.which("git") or not (root / ".git").exists():
        pytest.skip("not a git checkout, so nothing is known of what is committed")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, timeout=30, check=True)
    paths = [root / name for name in listed.stdout.split("\0") if name]
    return {str(p.relative_to(root)): p.read_text(errors="replace") for p in paths if p.is_file()}


def found(pattern, tracked) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for name, text in tracked.items()
        for match in pattern.finditer(text)
    ]


def test_no_registry_is_named(tracked, no_offence):
    no_offence(found(REGISTRY, tracked))


def test_no_path_of_a_machine_is_named(tracked, no_offence):
    no_offence(found(MACHINE, tracked))


@pytest.mark.parametrize(
    ("pattern", "text", "hits"),
    [
        (REGISTRY, "https://files.{}/packages", 1),
        (REGISTRY, "see the registry", 0),
        (MACHINE, "cd /{}/alice/project", 1),
        (MACHINE, "open '/{}'", 1),
        (MACHINE, "https://site.example/{}/page", 0),
        (MACHINE, "a/{}/b and ./{}/b", 0),
        (MACHINE, "/{}page/", 0),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern, text, hits):
    word = "pythonhosted" + ".org" if pattern is REGISTRY else "ho" + "me"
    assert len(found(pattern, {"file": text.replace("{}", word)})) == hits


def test_no_lock_file_holds_addresses(tracked, no_offence):
    no_offence([name for name in tracked if name.rsplit("/", 1)[-1] in {"uv.lock", "poetry.lock", "yarn.lock"}])
    locks = {name: json.loads(text) for name, text in tracked.items() if name.endswith("package-lock.json")}
    assert locks, "the Node peers are installed from a lock file"
    entries = [(name, path, entry) for name, lock in locks.items() for path, entry in lock["packages"].items()]
    no_offence([f"{name}: {path}" for name, path, entry in entries if "resolved" in entry])
    no_offence([f"{name}: {path}" for name, path, entry in entries if path and "integrity" not in entry])
