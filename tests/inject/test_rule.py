"""Where a token may go and how it is written, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from valetkey.errors import InvalidInput
from valetkey.inject.rule import Target, allowed, canonical, headers, missing, read_pattern
from valetkey.values import Secret, Token
from valetkey.vault.views import Credential

API = ("api.example.com",)


def to(url: str) -> Target:
    """Read "scheme://host:port" by hand: the last colon outside brackets parts host and port."""
    scheme, _, rest = url.partition("://")
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        host, port = rest, ""
    return Target(scheme, host, int(port) if port else None)


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("api.example.com", "https://api.example.com"),
        ("api.example.com", "https://api.example.com:443"),
        ("api.example.com:443", "https://api.example.com"),
        ("api.example.com", "https://API.Example.COM"),
        ("API.Example.com", "https://api.example.com"),
        ("api.example.com", "https://api.example.com."),
        ("api.example.com.", "https://api.example.com"),
        ("api.example.com", "wss://api.example.com"),
        ("api.example.com:8443", "https://api.example.com:8443"),
        ("*.example.com", "https://a.example.com"),
        ("*.example.com", "https://a.b.c.example.com"),
        ("*.example.com:8443", "https://a.example.com:8443"),
        ("bücher.example", "https://xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "https://bücher.example"),
        ("*.bücher.example", "https://api.xn--bcher-kva.example"),
        ("straße.example", "https://xn--strae-oqa.example"),
        ("[2001:db8::1]", "https://[2001:db8::1]"),
        ("2001:db8::1", "https://2001:DB8:0:0:0:0:0:1".replace("https://", "https://[") + "]"),
        ("[2001:db8::1]:8443", "https://[2001:db8:0::1]:8443"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("127.0.0.1:9000", "https://127.0.0.1:9000"),
        ("127.0.0.1:80", "http://127.0.0.1"),
        ("127.0.0.1:*", "http://127.0.0.1:40123"),
        ("localhost:*", "http://LOCALHOST:1"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("[0:0:0:0:0:0:0:1]:9000", "http://[::1]:9000"),
    ],
)
def test_a_token_goes_to_a_host_it_is_bound_to(pattern, url):
    assert allowed((pattern,), to(url))


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("api.example.com", "http://api.example.com"),
        ("api.example.com:80", "http://api.example.com"),
        ("api.example.com", "ws://api.example.com"),
        ("api.example.com", "ftp://api.example.com"),
        ("api.example.com", "https+unix://api.example.com"),
        ("api.example.com", "https://api.example.com:8443"),
        ("api.example.com:8443", "https://api.example.com"),
        ("api.example.com", "https://example.com"),
        ("api.example.com", "https://v1.api.example.com"),
        ("api.example.com", "https://api.example.com.evil.example"),
        ("api.example.com", "https://evilapi.example.com"),
        ("api.example.com", "https://evil.example@api.example.com"),
        ("api.example.com", "https://api.example.com@evil.example"),
        ("api.example.com", "https://api.example.com.."),
        ("api.example.com", "https://api.example.com\x00"),
        ("api.example.com", "https://"),
        ("*.example.com", "https://example.com"),
        ("*.example.com", "https://.example.com"),
        ("*.example.com", "https://aexample.com"),
        ("*.example.com", "https://a.example.com:8443"),
        ("*.example.com", "https://a.example.com.evil.example"),
        ("straße.example", "https://strasse.example"),
        ("127.0.0.1:9000", "http://127.0.0.1:9001"),
        ("127.0.0.1:9000", "http://localhost:9000"),
        ("127.0.0.1:9000", "http://[::1]:9000"),
        ("127.0.0.1:9000", "http://127.1:9000"),
        ("127.0.0.1:9000", "http://2130706433:9000"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("127.0.0.1", "https://127.0.0.1"),
        ("localhost", "https://localhost"),
        ("[::ffff:127.0.0.1]:9000", "http://[::ffff:127.0.0.1]:9000"),
        ("api.localhost:9000", "http://api.localhost:9000"),
        ("192.168.1.1:9000", "http://192.168.1.1:9000"),
    ],
)
def test_a_token_goes_nowhere_else(pattern, url):
    assert not allowed((pattern,), to(url))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "*.com",
        "*.localhost",
        "*.0.0.1",
        "*.[::1]",
        "a.*.example.com",
        "*api.example.com",
        "**.example.com",
        "api.example.com:*",
        "*.example.com:*",
        "api.example.com:",
        "api.example.com:0",
        "api.example.com:65536",
        "api.example.com:-1",
        "api.example.com:+443",
        "api.example.com:\uff14\uff14\uff13",
        "user@api.example.com",
        "https://api.example.com",
        "api.example.com/path",
        "api..example.com",
        ".example.com",
        "-api.example.com",
        "api example.com",
        "[::1",
        "[::1]9000",
        "[api.example.com]",
        "::1",
        "a" * 64 + ".example",
        ".".join(["abcdefgh"] * 30),
    ],
)
def test_a_line_that_cannot_be_read_as_a_host_allows_nothing(text):
    assert read_pattern(text) is None


def test_one_of_several_hosts_is_enough_and_none_is_not():
    hosts = ("nonsense/", "api.example.com", "*.files.example.com")
    assert allowed(hosts, to("https://a.files.example.com"))
    assert not allowed((), to("https://api.example.com"))


def test_a_host_has_one_spelling():
    assert canonical("WWW.Example.COM.") == "www.example.com"
    assert canonical("[2001:0DB8::0001]") == "2001:db8::1"
    assert canonical("ex ample") is None


@pytest.mark.parametrize("host", ["localhost.", "LOCALHOST.", "127.0.0.1.", "127.1.", "10.0.0.1."])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_final_dot_makes_no_loopback_name(scheme, host):
    # Resolvers ask DNS for them, which may answer with any address.
    hosts = ("127.0.0.1:*", "localhost:*", "127.0.0.1:80", "localhost:443")
    assert not allowed(hosts, Target(scheme, host, 80))
    assert not allowed(hosts, Target(scheme, host, 443))
    assert read_pattern(f"{host}:443") is None


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (Target("https", "API.example.com", None), "api.example.com"),
        (Target("https", "api.example.com", 443), "api.example.com"),
        (Target("https", "api.example.com", 8443), "api.example.com:8443"),
        (Target("http", "::1", 9000), "[::1]:9000"),
        (Target("https", "bad\nhost\x1b[31m", None), r"'bad\nhost\x1b[31m'"),
    ],
)
def test_a_target_is_shown_on_one_line(target, shown):
    assert target.shown == shown


def credential(token="secret-token", scheme="Bearer", **lines) -> Credential:
    lines = {name.replace("_", "-"): value for name, value in lines.items()}
    return Credential(Token(Secret(token)), API, scheme, lines)


def written(made: Credential) -> dict[str, str]:
    return dict(headers(made).items())


def test_the_token_is_written_with_its_scheme_word():
    assert written(credential()) == {"Authorization": "Bearer secret-token"}
    assert written(credential(scheme="Zoho-oauthtoken")) == {"Authorization": "Zoho-oauthtoken secret-token"}
    assert written(credential(scheme="")) == {"Authorization": "secret-token"}


def test_a_providers_header_is_added_unless_the_caller_set_it():
    notion = credential(Notion_Version="2022-06-28")
    assert headers(notion)["Notion-Version"] == "2022-06-28"
    assert dict(missing(headers(notion), {"Other"}).items()) == written(notion)
    assert dict(missing(headers(notion), {"Notion-Version"}).items()) == {"Authorization": "Bearer secret-token"}


def test_header_lines_show_their_names_and_can_be_looked_into_by_nobody():
    lines = headers(credential(Notion_Version="2022-06-28"))
    assert repr(lines) == f"{lines}" == "<HeaderLines Notion-Version, Authorization>"
    assert not isinstance(lines, Mapping | Sequence)  # what error reporters walk into
    assert (len(lines), list(lines)) == (2, ["Notion-Version", "Authorization"])


def test_a_providers_header_never_takes_the_place_of_the_token():
    assert headers(credential(Authorization="Bearer other"))["Authorization"] == "Bearer secret-token"


@pytest.mark.parametrize(
    "broken",
    [
        credential(token="a\r\nX-Evil: 1"),
        credential(token="a\nb"),
        credential(token="a\x00b"),
        credential(token="tökén"),
        credential(token=""),
        credential(scheme="Bearer x"),
        credential(scheme="Bearer\r\n"),
        credential(Notion_Version="1\r\nX-Evil: 1"),
        Credential(Token(Secret("secret-token")), API, "Bearer", {"X-Evil: 1\r\nX": "1"}),
    ],
)
def test_a_line_that_would_be_two_is_refused_and_not_shown(broken):
    with pytest.raises(InvalidInput) as refused:
        headers(broken)
    assert "secret-token" not in refused.value.explain()
    assert "tökén" not in refused.value.explain()
    assert refused.value.fix


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        (Target("https", "API.example.com", None), "api.example.com"),
        (Target("https", "api.example.com", 443), "api.example.com"),
        (Target("wss", "api.example.com", None), "api.example.com"),
        (Target("https", "api.example.com", 8443), "api.example.com:8443"),
        (Target("http", "127.0.0.1", None), "127.0.0.1:80"),
        (Target("http", "localhost", 9000), "localhost:9000"),
        (Target("https", "127.0.0.1", None), "127.0.0.1:443"),
        (Target("http", "::1", 9000), "[::1]:9000"),
        (Target("https", "2001:db8::1", None), "[2001:db8::1]"),
    ],
)
def test_a_place_is_allowed_by_its_own_pattern(target, pattern):
    assert target.pattern == pattern
    assert allowed((pattern,), target)


@pytest.mark.parametrize("target", [Target("http", "api.example", None), Target("ftp", "x.example", None)])
def test_no_pattern_allows_a_place_in_clear(target):
    assert (target.pattern, target.in_clear) == ("", True)
