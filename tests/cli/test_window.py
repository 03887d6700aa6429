"""The address of a login reaches the browser, and stands in no argument list meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from clikit import SECONDS
from valetkey.cli import window

RECORD = """#!{python}
import json, os, stat, sys, urllib.parse, urllib.request
page = urllib.request.url2pathname(urllib.parse.urlsplit(sys.argv[1]).path)
modes = [stat.S_IMODE(os.stat(place).st_mode) for place in (page, os.path.dirname(page))]
with open({out!r}, "w") as file:
    json.dump({{"argv": sys.argv, "page": page, "modes": modes, "text": open(page).read()}}, file)
os.execv({browser!r}, [{browser!r}, *sys.argv[1:]])
"""

posix = pytest.mark.skipif(os.name != "posix", reason="modes, signals and the scripts are POSIX's")


def leads_to(page: str) -> str:
    return unescape(re.search('http-equiv="refresh" content="0; url=([^"]+)"', page)[1])


@pytest.mark.network
@posix
def test_no_argument_list_holds_the_state(valetkey, box, browser, tmp_path, home):
    out, script = tmp_path / "seen.json", tmp_path / "recording"
    script.write_text(RECORD.format(python=sys.executable, out=str(out), browser=str(tmp_path / "browser")))
    script.chmod(0o700)
    valetkey.env["BROWSER"] = f"{script} %s"
    done = valetkey("connect", "box/alice")
    assert done.code == 0, done.err
    seen = json.loads(out.read_text())
    query = parse_qs(urlsplit(leads_to(seen["text"])).query)
    assert len(query["state"][0]) >= 43, "32 random bytes"
    for word in seen["argv"]:
        assert query["state"][0] not in word
        assert query["code_challenge"][0] not in word
        assert "?" not in word
    assert seen["modes"] == [0o600, 0o700]
    place = Path(seen["page"]).relative_to(home)
    assert not any(part.startswith(".") for part in place.parts), "browsers packed as snaps cannot read hidden folders"
    assert list(home.glob(f"{window.PREFIX}*")) == [], "nothing of it is left"


@pytest.mark.network
@posix
def test_ctrl_c_removes_the_page_too(valetkey, box, home):
    valetkey.env["BROWSER"] = "true %s"
    with valetkey.start("connect", "box/alice") as process:
        assert any("Ctrl-C ends it" in line for line in process.stderr)
        assert len(list(home.glob(f"{window.PREFIX}*"))) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    assert list(home.glob(f"{window.PREFIX}*")) == []


def test_the_page_refers_nobody_and_runs_nothing(home, monkeypatch):
    asked = []
    monkeypatch.setattr(window, "_open", lambda page: asked.append((page, page.read_text())))
    url = 'https://login.example/authorize?state=abc&x="><script>alert(1)</script>'
    with window.opened(url) as tried:
        assert tried is True
    ((page, text),) = asked
    assert leads_to(text) == url
    assert '<meta name="referrer" content="no-referrer">' in text
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert not page.parent.exists()


def test_what_a_killed_process_left_is_removed_later(home, monkeypatch):
    monkeypatch.setattr(window, "_open", lambda _page: None)
    left, fresh, other = (home / name for name in (f"{window.PREFIX}left", f"{window.PREFIX}fresh", "valetkey"))
    for folder in (left, fresh, other):
        folder.mkdir()
        (folder / "login.html").write_text("")
    for folder in (left, other):
        os.utime(folder, (0, 0))
    with window.opened("https://login.example/"):
        assert (left.exists(), fresh.exists(), other.exists()) == (False, True, True)


def test_without_a_home_to_write_into_no_browser_is_opened(home, monkeypatch):
    asked = []
    monkeypatch.setattr(window, "_open", asked.append)
    monkeypatch.setenv("HOME", str(home / "nowhere"))
    monkeypatch.setenv("USERPROFILE", str(home / "nowhere"))
    with window.opened("https://login.example/authorize?state=abc") as tried:
        assert tried is False
    assert asked == []


@pytest.mark.network
@posix
def test_the_address_is_shown_where_no_browser_can_be_opened(valetkey, box, home):
    valetkey.env["HOME"] = str(home / "nowhere")
    with valetkey.start("connect", "box/alice") as process:
        said = ""
        for line in process.stderr:
            said += line
            if "Ctrl-C ends it" in line:
                break
    assert "no browser could be opened" in said
    assert f"{box.url}/authorize?" in said


@posix
def test_the_page_is_its_owners_whatever_the_umask(home, monkeypatch):
    seen = []
    monkeypatch.setattr(
        window, "_open", lambda page: seen.extend(stat.S_IMODE(one.stat().st_mode) for one in (page, page.parent))
    )
    before = os.umask(0)
    try:
        with window.opened("https://login.example/"):
            pass
    finally:
        os.umask(before)
    assert seen == [0o600, 0o700]
