"""Reading files: one at a time, each once, and every wrong member named by its path."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from valetkey.errors import InvalidInput, NotFound
from valetkey.providers import keys, load, loader, read
from valetkey.providers.checks import host_allowed

SMALL = 'key = "acme"\nname = "Acme"\n[endpoints]\ntoken = "https://acme.example/token"\n'


def test_importing_the_room_reads_no_file_and_loading_reads_one():
    script = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda name, args: opened.append(str(args[0])) if name == 'open' else None)\n"
        "from valetkey.providers import load\n"
        "assert not [path for path in opened if path.endswith('.toml')], opened\n"
        "load('slack'); load('slack')\n"
        "print([path.rsplit('/', 1)[1] for path in opened if path.endswith('.toml')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "['slack.toml']"


def test_a_provider_is_read_once():
    assert load("notion") is load("notion")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("gogle", "google"),
        ("Google", "google"),
        ("sales-force", "salesforce"),
        ("entra", "microsoft"),
        ("jira", "atlassian"),
        ("gmail", "google"),
    ],
)
def test_a_wrong_name_suggests_the_right_one(wrong, meant):
    with pytest.raises(NotFound) as refused:
        load(wrong)
    assert f"did you mean {meant}" in refused.value.fix


@pytest.mark.parametrize("key", ["", "../google", "/etc/passwd", "google.toml", "a" * 4000, "goo\0gle", "x\ny", "."])
def test_a_name_that_is_none_reaches_no_file(key, tmp_path):
    with pytest.raises(NotFound) as refused:
        load(key, [tmp_path])
    assert len(str(refused.value)) < 300
    assert "\n" not in str(refused.value)


def test_a_users_file_is_found_and_goes_before_the_catalogue(tmp_path):
    (tmp_path / "acme.toml").write_text(SMALL)
    (tmp_path / "google.toml").write_text(SMALL.replace("acme", "google"))
    assert load("acme", [tmp_path]).name == "Acme"
    assert load("google", [tmp_path]).name == "Acme"
    assert load("google").name != "Acme"
    assert set(keys([tmp_path])) == {*keys(), "acme"}


def test_the_first_folder_goes_first_and_absent_folders_are_no_harm(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, name in ((one, "One"), (two, "Two")):
        folder.mkdir()
        (folder / "acme.toml").write_text(SMALL.replace("Acme", name))
    assert load("acme", [tmp_path / "absent", one, two]).name == "One"
    assert load("acme", [two, one]).name == "Two"


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "acme.toml"
    path.write_text(SMALL)
    assert load("acme", [tmp_path]).name == "Acme"
    path.write_text(SMALL.replace("Acme", "Acme Corporation"))
    assert load("acme", [tmp_path]).name == "Acme Corporation"


def test_a_file_under_another_name_is_refused(tmp_path):
    (tmp_path / "other.toml").write_text(SMALL)
    with pytest.raises(InvalidInput) as refused:
        load("other", [tmp_path])
    assert refused.value.evidence["member"] == "key"
    assert str(tmp_path / "other.toml") in str(refused.value)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    (tmp_path / "acme.toml").write_text(SMALL)

    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)
    with pytest.raises(InvalidInput, match="Permission denied"):
        load("acme", [tmp_path])


def test_a_huge_file_is_not_read(tmp_path):
    (tmp_path / "acme.toml").write_bytes(b"#" * (loader.SIZE_LIMIT + 1))
    with pytest.raises(InvalidInput, match="larger than"):
        load("acme", [tmp_path])


def test_a_file_of_just_the_limit_is_read():
    text = SMALL + "#" * (loader.SIZE_LIMIT - len(SMALL))
    assert read(text, "f").key == "acme"
    with pytest.raises(InvalidInput, match="larger than"):
        read(text + "#", "f")


@pytest.mark.parametrize("data", [SMALL, SMALL.encode(), b"\xef\xbb\xbf" + SMALL.encode()])
def test_texts_and_bytes_are_read_alike(data):
    assert read(data, "f").endpoints.token == "https://acme.example/token"


@pytest.mark.parametrize("data", ["key = ", b"\xff\xfe", "[[[", "a = " + "[" * 5000, "\0", "<html>"])
def test_what_is_no_toml_is_refused_in_one_line(data):
    with pytest.raises(InvalidInput, match=r"my\.toml") as refused:
        read(data, "my.toml")
    assert refused.value.evidence["where"] == "my.toml"


ADDED = {
    "refresh.rotates": '[refresh]\nrotates = "perhaps"',
    "refresh": "[refresh]\nrotate = 1",
    "asking.pkce": "[asking]\npkce = true",
    "api.hosts": '[api]\nhosts = ["*.com"]',
    "api.whoami": '[api]\nhosts = ["a.example"]\nwhoami = "https://b.example/me"',
    "api.hosts_from": '[api]\nhosts_from = ["instance_url"]',
    "parameters.x": '[parameters.x]\nabout = "unused"',
    "parameters.y.pattern": '[api]\nhosts = ["{y}.example.com"]\n[parameters.y]\nabout = "y"\npattern = "("',
    "parameters.z.default": '[api]\nhosts = ["{z}.example.com"]\n[parameters.z]\nabout = "z"\ndefault = "a/b"\npattern = ".+"',
    "asking.headers.X-A": '[asking.headers]\nX-A = "{unknown}"',
    "asking.headers.X-B": '[asking.headers]\nX-B = "{Open"',
    "refresh.grace_seconds": '[refresh]\nold_token = "grace"',
    "offline_scopes": "[refresh]\navailable = false",
    "refresh.idle_days": "[refresh]\nidle_days = -1",
    "answer.default_expires_in": "[answer]\ndefault_expires_in = -1",
    "sources.0.date": '[[sources]]\nwhere = "w"\ndate = "23.11.2026"\nfacts = ["endpoints"]',
    "sources.0.where": '[[sources]]\nwhere = " "\ndate = "2026-11-23"\nfacts = ["endpoints"]',
    "sources.0.facts": '[[sources]]\nwhere = "w"\ndate = "2026-11-23"\nfacts = ["endpoints.tokens"]',
}


@pytest.mark.parametrize("member", ADDED)
def test_a_wrong_member_is_named_by_its_path(member):
    with pytest.raises(InvalidInput) as refused:
        read(('offline_scopes = ["x"]\n' if member == "offline_scopes" else "") + SMALL + ADDED[member], "my.toml")
    assert refused.value.evidence["member"] == member
    assert str(refused.value).startswith(f"my.toml: {member}: ")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "*.",
        "*.com",
        "a b",
        "a/b",
        "https://a.example",
        "a.example:0",
        "a.example:99999",
        "*a.example",
        "a.*",
        "a_b.example",
        "-a.example",
        "user@a.example",
    ],
)
def test_a_host_that_is_none_is_refused(host):
    with pytest.raises(InvalidInput) as refused:
        read(f"{SMALL}[api]\nhosts = ['{host}']", "f")
    assert refused.value.evidence["member"] == "api.hosts"


@pytest.mark.parametrize(
    "host", ["a.example", "*.a.example", "a.example:8443", "127.0.0.1:5000", "localhost", "[::1]:80"]
)
def test_a_host_that_is_one_is_taken(host):
    assert read(f"{SMALL}[api]\nhosts = ['{host}']", "f").api.hosts == [host]


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.example/token",
        "https://a@b.example/",
        "https://a.example/#f",
        "ftp://a.example/",
        "https://",
        "token",
        "https://a_b.example/",
        "https://a.example:x/",
    ],
)
def test_an_endpoint_that_is_not_secure_is_refused(url):
    with pytest.raises(InvalidInput) as refused:
        read(SMALL.replace("https://acme.example/token", url), "f")
    assert refused.value.evidence["member"] == "endpoints.token"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/token", "http://localhost/token", "http://[::1]:9/token", "https://h.example:8443/t?x=1"],
)
def test_an_endpoint_on_loopback_or_https_is_taken(url):
    assert read(SMALL.replace("https://acme.example/token", url), "f").endpoints.token == url


def test_key_and_name_are_needed_and_judged():
    for text, member in ((SMALL.replace('"acme"', '"Acme!"'), "key"), (SMALL.replace('"Acme"', '" "'), "name")):
        with pytest.raises(InvalidInput) as refused:
            read(text, "f")
        assert refused.value.evidence["member"] == member
    with pytest.raises(InvalidInput, match="missing required field `name`"):
        read('key = "acme"', "f")


PARAMETER = 'about = "x"\ndefault = "aaaa"'


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b|a*",
        "(a|a)*",
        "(?:a+)*",
        "(?=a)a*",
        "(a)\\1*aaa",
        "a*a*a*a*",
        "a?a?a?a?",
        "a{0,9}a{0,9}a*a{1,}",
        "a*|a*|b+|a?",
        "a**",
        "a*?",
        "a++",
        "a{1}{4}",
        "^a*$",
        "[a",
        "[z-a]*",
        "[[:alpha:]]*",
        "a {4}",
        "\\x61*",
        "a|" * 100 + "a*",
    ],
)
def test_a_pattern_that_could_take_long_is_refused_before_it_is_tried(pattern):
    text = f"{SMALL}[api]\nhosts = ['{{z}}.example.com']\n[parameters.z]\n{PARAMETER}\npattern = '{pattern}'"
    with pytest.raises(InvalidInput) as refused:
        read(text, "my.toml")
    assert refused.value.evidence["member"] == "parameters.z.pattern"


@pytest.mark.parametrize(
    "pattern",
    ["[a-z]+", "a{4}", "a{2,5}", "[^/]*", "aaaa|bbbb", "\\w+", "[a-z]*[a-z]*[a-z]*", "a.aa", "[\\]a]{4}", "a?a+a?"],
)
def test_a_plain_pattern_is_taken(pattern):
    text = f"{SMALL}[api]\nhosts = ['{{z}}.example.com']\n[parameters.z]\n{PARAMETER}\npattern = '{pattern}'"
    assert read(text, "my.toml").parameters["z"].pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.Example.com", True),
        ("api.example.com", "x.api.example.com", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "example.com.evil.example", False),
        ("api.example.com:8443", "api.example.com", True),
        ("[::1]:80", "::1", True),
        ("not a pattern", "not a pattern", False),
        ("*", "api.example.com", False),
    ],
)
def test_a_pattern_allows_its_hosts_and_no_others(pattern, host, allowed):
    assert host_allowed(pattern, host) is allowed


def test_a_message_is_one_short_line_whatever_the_file_holds():
    with pytest.raises(InvalidInput) as refused:
        read(SMALL + '"a\\nb' + "x" * 5000 + '" = 1', "f")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) <= 400
