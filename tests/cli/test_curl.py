"""`valetkey curl` with the real curl: the token reaches the connection's hosts, and nothing and nobody else."""

from __future__ import annotations

import re
import shlex
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clikit import MACHINE_SECRET, prepare
from valetkey.cli.curlargs import ELSEWHERE, curl_here, destination, judge_ways, read_arguments
from valetkey.errors import InvalidInput

curl_is_here = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
pytestmark = [pytest.mark.network, curl_is_here]


class Seen(ThreadingHTTPServer):
    """A server that keeps what it was sent, and redirects /to/HOST/… there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.requests: list[tuple[str, str]] = []
        self.held = threading.Event()
        self.go_on = threading.Event()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Keep(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization", "")))
        if self.path == "/hold":
            self.server.held.set()
            self.server.go_on.wait(30)
        _, word, *rest = self.path.split("/")
        self.send_response(302 if word == "to" else 200)
        if word == "to":
            self.send_header("Location", f"http://{'/'.join(rest)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def servers():
    pair = [Seen(), Seen()]
    for server in pair:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield pair
    for server in pair:
        server.go_on.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def bound(robot, servers):
    """Return a server that the connection robot/api is bound to, and one that it is not."""
    prepare("connect", "robot/api", "--grant", "client_credentials", "--host", servers[0].host)
    return servers


def test_the_token_is_on_the_request_and_curls_own_options_work(valetkey, inside, bound):
    ours, _ = bound
    token = inside("token", "robot/api").out.strip()
    done = valetkey(
        "curl", "robot/api", "--", f"http://{ours.host}/a", "-s", "-o", "-", "-w", "%{http_code}", "-G", "-d", "q=1"
    )
    assert (done.code, done.out, done.err) == (0, "200", "")
    assert ours.requests == [("/a?q=1", f"Bearer {token}")]
    line = inside("audit", "tail", "-n", "1", "--json").json[0]
    assert (line["kind"], line["subject"], line["detail"]) == ("token.injected", "robot/api", {"host": "127.0.0.1"})


BEHIND_DASHES = (
    "arguments for another program stand behind --: `valetkey curl [OPTIONS] APP/LABEL -- URL [CURL ARGUMENTS]...`"
)


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["api/me", "https://api.example/x"], BEHIND_DASHES),
        (["api/me", "-X", "POST", "https://api.example/x"], BEHIND_DASHES),
        (["--", "https://api.example/x"], "`valetkey curl --help` shows"),
        (["https://api.example/x"], "for example: `valetkey curl APP/LABEL -- https://"),
    ],
)
def test_what_is_curls_stands_behind_the_dashes(inside, words, fix):
    done = inside("--json", "curl", *words)
    assert (done.code, done.error["fix"][: len(fix)]) == (2, fix)


def test_the_exit_code_is_curls(valetkey, bound):
    ours, _ = bound
    ours.shutdown()
    ours.server_close()
    assert valetkey("curl", "robot/api", "--", f"http://{ours.host}/", "-s").code == 7  # curl: failed to connect


def test_a_redirect_to_another_host_does_not_carry_the_token(valetkey, bound):
    ours, theirs = bound
    name = f"localhost:{theirs.server_address[1]}"
    done = valetkey("curl", "robot/api", "--", "-sL", f"http://{ours.host}/to/{name}/stolen")
    assert done.code == 0, done.err
    assert ours.requests[0][1].startswith("Bearer ")
    assert theirs.requests == [("/stolen", "")]


def test_a_redirect_to_another_port_of_the_host_does_not_carry_it_either(valetkey, bound):
    ours, theirs = bound
    done = valetkey("curl", "robot/api", "--", "--location", f"http://{ours.host}/to/{theirs.host}/stolen", "--silent")
    assert done.code == 0, done.err
    assert theirs.requests == [("/stolen", "")]


def test_a_second_address_is_judged_too(inside, bound):
    ours, theirs = bound
    done = inside("--json", "curl", "robot/api", "--", f"http://{ours.host}/", f"http://{theirs.host}/")
    assert (done.code, done.error["code"]) == (2, "host_not_allowed")
    assert (ours.requests, theirs.requests) == ([], [])
    line = inside("audit", "tail", "-n", "1", "--json").json[0]
    assert (line["kind"], line["outcome"], line["reason"]) == ("token.withheld", "refused", "host_not_allowed")


def test_the_fix_is_a_command_that_lets_the_token_go_there_too(valetkey, inside, bound):
    ours, theirs = bound
    refused = inside("--json", "curl", "robot/api", "--", f"http://{theirs.host}/me").error
    assert "https" not in refused["cause"]  # plain http to this machine is no fault
    command = re.search(r"`valetkey (app add robot --replace [^`]+)`", refused["fix"])[1]
    assert inside(*shlex.split(command)).out == f"robot: changed: hosts\n  hosts:  {theirs.host}\n"
    for server in (ours, theirs):
        assert valetkey("curl", "robot/api", "--", "-s", f"http://{server.host}/me").code == 0
        assert server.requests[-1][1].startswith("Bearer ")


def test_an_app_bound_to_its_token_endpoint_alone_stays_bound_to_it(inside, sandbox):
    words = ("generic", "--token-url", f"{sandbox.url}/token", "--client-id", "sandbox-machine", "--secret-stdin")
    assert inside("app", "add", "acme", *words, stdin=MACHINE_SECRET).code == 0
    assert inside("connect", "acme/one", "--grant", "client_credentials", "--scope", "read").code == 0
    refused = inside("--json", "curl", "acme/one", "--", "https://api.example/me").error
    here = sandbox.url.partition("://")[2]
    assert f"`valetkey app add acme --replace --host {here} --host api.example`" in refused["fix"]
    clear = inside("--json", "curl", "acme/one", "--", "http://api.example/me").error
    assert "plain http to this machine alone" in clear["cause"]
    assert clear["fix"] == f"ask by https, and {refused['fix']}"  # both at once, and not one after the other
    assert inside(*shlex.split(refused["fix"].split("`")[1])[1:]).code == 0
    assert inside("connect", "acme/one", "--grant", "client_credentials", "--scope", "read").code == 0
    bound = inside("--json", "curl", "acme/one", "--", "http://api.example/me").error
    assert bound["fix"] == "ask by https"


def test_a_configuration_file_cannot_name_other_addresses(valetkey, bound, home):
    ours, theirs = bound
    (home / ".curlrc").write_text(f"url = http://{theirs.host}/from-curlrc\n")
    assert valetkey("curl", "robot/api", "--", f"http://{ours.host}/", "-s").code == 0
    assert theirs.requests == []


def test_no_proxy_stands_between_us_and_loopback(valetkey, bound):
    ours, theirs = bound
    valetkey.env["http_proxy"] = valetkey.env["ALL_PROXY"] = f"http://{theirs.host}"
    assert valetkey("curl", "robot/api", "--", f"http://{ours.host}/", "-s").code == 0
    assert (len(ours.requests), theirs.requests) == (1, [])


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_the_token_stands_in_no_argument_list_and_no_environment(valetkey, inside, bound):
    ours, _ = bound
    token = inside("token", "robot/api").out.strip().encode()
    with valetkey.start("curl", "robot/api", "--", f"http://{ours.host}/hold", "-s") as process:
        assert ours.held.wait(30)
        place = Path(f"/proc/{process.pid}")
        command = (place / "cmdline").read_bytes()
        assert command.split(b"\0")[0].endswith(b"curl")
        assert token not in command + (place / "environ").read_bytes()
        ours.go_on.set()
        assert process.wait(30) == 0


def test_without_curl_the_error_says_what_to_do(inside, robot, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = inside("--json", "curl", "robot/one", "--", "https://api.example/")
    assert (done.code, done.error["message"]) == (2, "curl is not installed")
    assert "valetkey exec" in done.error["fix"]


@pytest.mark.parametrize(
    "words",
    [
        ["--connect-to", "{ours}:{theirs}"],
        ["--noproxy", "", "--proxy", "http://{theirs}"],
        ["--noproxy", "example.org"],
        ["-x", "http://{theirs}"],
        ["--preproxy", "socks5://{theirs}"],
        ["--socks5-hostname", "{theirs}"],
        ["--unix-socket", "/tmp/theirs"],
    ],
)
def test_over_plain_http_nothing_may_lead_elsewhere(inside, bound, words, monkeypatch):
    ours, theirs = bound
    monkeypatch.setenv("http_proxy", f"http://{theirs.host}")  # what `--noproxy example.org` would bring back
    more = [word.format(ours=ours.host, theirs=theirs.host) for word in words]
    done = inside("--json", "curl", "robot/api", "--", f"http://{ours.host}/", "-sS", *more)
    assert (done.code, done.error["code"]) == (2, "invalid_input"), done.err
    assert (ours.requests, theirs.requests) == ([], [])


def test_an_option_without_its_value_does_not_swallow_what_keeps_proxies_out(valetkey, bound):
    ours, theirs = bound
    valetkey.env["http_proxy"] = f"http://{theirs.host}"
    assert valetkey("curl", "robot/api", "--", f"http://{ours.host}/", "-s", "-H").code == 2
    assert (ours.requests, theirs.requests) == ([], [])


@pytest.mark.parametrize("option", ["--libcurl", "--trace", "--trace-ascii", "--stderr"])
def test_what_is_sent_is_written_into_no_file(valetkey, inside, bound, tmp_path, option):
    ours, _ = bound
    file = tmp_path / "written"
    done = inside("--json", "curl", "robot/api", "--", f"http://{ours.host}/", "-sv", option, str(file))
    assert (done.code, done.error["code"]) == (2, "invalid_input")
    assert (ours.requests, file.exists()) == ([], False)
    assert valetkey("curl", "robot/api", "--", f"http://{ours.host}/", "-s", option, "-").code == 0


def test_showing_what_is_sent_is_warned_about(valetkey, bound):
    ours, _ = bound
    done = valetkey("curl", "robot/api", "--", f"http://{ours.host}/", "-sv")
    assert "valetkey: curl shows the token with this option" in done.err


# ── reading curl's arguments ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def here():
    return curl_here()


@pytest.mark.parametrize(
    ("words", "addresses"),
    [
        (["https://a/"], ["https://a/"]),
        (["-sSXPOST", "https://a/"], ["https://a/"]),
        (["-X", "POST", "https://a/"], ["https://a/"]),
        (["-d", "https://no/", "https://a/"], ["https://a/"]),
        (["-dhttps://no/", "https://a/"], ["https://a/"]),
        (["--data", "-", "https://a/", "-o", "file", "https://b/"], ["https://a/", "https://b/"]),
        (["--url", "https://a/", "-e", "https://no/"], ["https://a/"]),
        (["--no-buffer", "-N", "--no-location", "https://a/"], ["https://a/"]),
        (["--", "-K", "https://a/"], ["-K", "https://a/"]),  # behind -- everything is an address
        (["-sLo", "file", "https://a/"], ["https://a/"]),
        (["https://a/", "-H"], ["https://a/"]),
    ],
)
def test_every_address_is_found(here, words, addresses):
    assert read_arguments(words, here).addresses == addresses


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-s"],
        ["https://a/", "--location-trusted"],
        ["https://a/", "-K", "file"],
        ["https://a/", "-Kfile"],
        ["https://a/", "-sKfile"],
        ["https://a/", "--next", "https://b/"],
        ["https://a/", "-:", "https://b/"],
        ["https://a/", "--no-such-option"],
        ["https://a/", "--locatio"],
        ["https://a/", "-"],
        ["https://a/", "-\N{LATIN SMALL LETTER E WITH ACUTE}"],
        ["https://a/", "-H", "authorization: Bearer other"],
        ["https://a/", "-HAuthorization;"],
    ],
)
def test_what_is_not_safe_or_cannot_be_placed_is_refused(here, words):
    with pytest.raises(InvalidInput) as refused:
        read_arguments(words, here)
    assert refused.value.fix


def judged(here, words: list[str], *, plain: bool = False) -> None:
    judge_ways(read_arguments(words, here), plain=plain, encrypted=not plain)


LEADING = [
    ["--connect-to", "a:443:b:443"],
    ["--resolve", "a:443:192.0.2.1"],
    ["--proxy", "http://b/"],
    ["-xhttp://b/"],
    ["--preproxy", "socks5://b"],
    ["--socks4", "b"],
    ["--socks4a", "b"],
    ["--socks5", "b"],
    ["--socks5-hostname", "b"],
    ["--proxy1.0", "b"],
    ["--unix-socket", "/b"],
    ["--abstract-unix-socket", "b"],
    ["--doh-url", "https://b/"],
    ["--dns-servers", "192.0.2.1"],
    ["--interface", "b"],
    ["--alt-svc", "file"],
]


@pytest.mark.parametrize("words", LEADING, ids=" ".join)
@pytest.mark.parametrize(
    "trust", [["-k"], ["-sSk"], ["--doh-insecure"], ["--cacert", "mine.pem"], ["--capath", "mine"]]
)
def test_elsewhere_is_for_tls_with_the_certificates_of_this_machine(here, words, trust):
    judged(here, ["https://a/", *words])
    judged(here, ["https://a/", *trust])
    with pytest.raises(InvalidInput, match="together"):
        judged(here, ["https://a/", *words, *trust])
    with pytest.raises(InvalidInput, match="plain http"):
        judged(here, ["http://127.0.0.1:1/", *words], plain=True)


def test_every_way_elsewhere_is_an_option_that_curl_has_or_had(here):
    # A misspelt name in the table would refuse nothing. curl can be built without some of these.
    assert len(ELSEWHERE - here.takes.keys()) <= 4, ELSEWHERE - here.takes.keys()


def test_an_old_curl_may_not_follow_redirects(here):
    import dataclasses

    old = dataclasses.replace(here, version=(7, 82))
    with pytest.raises(InvalidInput, match=r"7\.82"):
        read_arguments(["-L", "https://a/"], old)
    assert read_arguments(["https://a/"], old).addresses == ["https://a/"]
    assert read_arguments(["-L", "https://a/"], dataclasses.replace(here, version=(7, 83))).addresses == ["https://a/"]


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("https://api.example.com", ("https", "api.example.com", None)),
        ("HTTPS://api.example.com:8443/a?b=https://c#d", ("https", "api.example.com", 8443)),
        ("http://[::1]:80/x", ("http", "[::1]", 80)),
        ("https://a/{x,y}[1-3]", ("https", "a", None)),
    ],
)
def test_a_plain_address_is_read(address, parts):
    assert destination(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "api.example.com",
        "ftp://api.example.com/",
        "https://api.example.com@evil.example/",
        "https://api.example.com\\@evil.example/",
        "https://{evil.example,api.example.com}/",
        "https://[1-2].example.com/",
        "https://api.example.com:443:80/",
        "https://api.example.com:/",
        "https:///api.example.com/",
        "https:api.example.com/",
        "https://stra\N{LATIN SMALL LETTER SHARP S}e.example/",
        "https://api.example.com%2f@evil.example/",
        " https://api.example.com/",
        "",
    ],
)
def test_an_address_that_could_be_read_in_two_ways_is_refused(address):
    with pytest.raises(InvalidInput):
        destination(address)
