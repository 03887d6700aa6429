"""What users install is what we wrote: the wheel holds the package with its data, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory) -> zipfile.ZipFile:
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = place.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_package(wheel, root):
    package = root / "src" / "valetkey"
    ours = {
        f"valetkey/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == ours


def test_the_wheel_holds_the_catalogue_and_says_it_is_typed(wheel):
    names = wheel.namelist()
    assert "valetkey/py.typed" in names
    catalogue = [name for name in names if name.endswith(".toml")]
    assert catalogue, "the providers are data and must come along"
    for name in catalogue:
        assert tomllib.loads(wheel.read(name).decode())


def test_the_wheel_holds_no_tests_and_no_tools(wheel, no_offence):
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {"valetkey"}
    no_offence([name for name in wheel.namelist() if "test_" in name or "conftest" in name or "node_modules" in name])


def test_the_core_stays_light(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    said = Parser().parsestr(wheel.read(metadata).decode())
    needs = [need for need in said.get_all("Requires-Dist") if "extra ==" not in need]
    assert sorted(need.split(">")[0] for need in needs) == ["click", "cryptography", "msgspec", "pybase64", "urllib3"]
    assert said["License-Expression"] == "Apache-2.0"


def test_the_commands_are_installed_under_both_names(wheel):
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    lines = wheel.read(entry_points).decode().splitlines()
    assert {"valetkey = valetkey.cli.main:main", "vk = valetkey.cli.main:main"} <= set(lines)
