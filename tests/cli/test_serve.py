"""`valetkey serve`: what it prints can be typed and works, what would be unsafe is refused, and it ends cleanly."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from valetkey.cli import serve, trial
from valetkey.cli.dumps import WANTED
from valetkey.installing import to_add

pytestmark = pytest.mark.network

ANY_PORTS = ("--port", "0", "--sandbox-port", "0")


class Served:
    """A server in a process of its own, and what it said."""

    def __init__(self, process: subprocess.Popen, last: str) -> None:
        self.process = process
        self.said = ""
        for line in process.stdout:
            self.said += line
            if last in line:
                break
        else:
            raise AssertionError(process.stderr.read())

    @property
    def json(self):
        return json.loads(self.said)

    @property
    def url(self) -> str:
        return re.search(r"https?://127\.0\.0\.1:\d+", self.said).group()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what stood on standard error."""
        self.process.send_signal(number)
        _out, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.fixture
def served(valetkey, tmp_path):
    with ExitStack() as stack:

        def start(*arguments: str, last: str = "}") -> Served:
            process = stack.enter_context(valetkey.start("serve", *arguments, cwd=tmp_path))
            stack.callback(process.kill)
            return Served(process, last)

        yield start


@pytest.fixture
def refused(inside, tmp_path, monkeypatch):
    """Return `valetkey serve` without a process of its own, for what it refuses before it serves."""
    monkeypatch.setenv(WANTED, "1")  # how it keeps its memory to itself would be ours too, to the end
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: inside("serve", *arguments, "--json")


def entered(url: str, **way: str) -> httpx.Response:
    """Come in with a browser of its own, by `key` or `link`, and return the first page."""
    with httpx.Client(base_url=url, trust_env=False, verify=False, follow_redirects=True) as browser:
        form = dict(re.findall(r'name="(csrf)" value="([^"]*)"', browser.get("/enter").text))
        return browser.post("/enter", data={**form, **way})


def to_type(said: str) -> list[str]:
    """Return the lines that a person would type: those that stand furthest in."""
    return [line.strip() for line in said.splitlines() if line.startswith("      ")]


# ── trying it ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the lines are for a POSIX shell")
def test_what_a_try_tells_you_to_type_works(served, valetkey, tmp_path, browser):
    running = served("--try", *ANY_PORTS, last="The sandbox is")
    lines = to_type(running.said)
    assert len(lines) == 6, running.said
    typed = subprocess.run(
        ["sh", "-e"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=valetkey.env,
        timeout=60,
        check=False,
    )
    assert typed.returncode == 0, typed.stderr
    assert "sandbox/alice: connected" in typed.stdout
    assert re.search(r"^sbx_\S+$", typed.stdout, re.MULTILINE), "a token and nothing else"
    assert re.search(r'"user":\s*"alice"', typed.stdout)
    assert "sandbox-machine/nightly: connected" in typed.stdout
    key = tmp_path / ".valetkey" / "vault.operator"
    assert str(key) in running.said
    page = entered(running.url, key=key.read_text()).text
    assert "2 active" in page
    assert "sandbox/alice" in page
    own = valetkey("connect", "mine/bob", "--vault", str(tmp_path / ".valetkey" / "vault.db"))
    assert "mine/bob: connected" in own.out, own.err
    assert running.end(signal.SIGINT)[0] == 0


def test_the_sandboxs_secrets_lie_in_files_of_their_owner_and_end_with_it(served, tmp_path):
    running = served("--try", *ANY_PORTS, "--json")
    folder = tmp_path / ".valetkey"
    assert running.json["sandbox_secrets"] == str(folder)
    files = [folder / "sandbox-web.secret", folder / "sandbox-machine.secret"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600] or os.name != "posix"
    told = {"grant_type": "client_credentials", "client_id": "sandbox-machine"}
    answers = [
        httpx.post(f"{running.json['sandbox']}/token", data={**told, "client_secret": secret}, trust_env=False)
        for secret in (files[1].read_text().strip(), files[0].read_text().strip())
    ]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert not any(file.read_text().strip() in running.said for file in files)
    assert running.end()[0] == 0
    assert not any(file.exists() for file in files)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_try_keeps_its_vault_in_a_folder_for_its_owner_only(served, tmp_path, valetkey):
    valetkey.env["VALETKEY_VAULT"] = str(tmp_path / "another.db")
    running = served("--try", *ANY_PORTS, "--json")
    assert running.json["vault"] == str(tmp_path / ".valetkey" / "vault.db")
    assert stat.S_IMODE((tmp_path / ".valetkey").stat().st_mode) == 0o700
    assert not (tmp_path / "another.db").exists()


def test_a_second_try_forgets_what_its_new_sandbox_cannot_know(served, inside):
    first = served("--try", *ANY_PORTS, "--json")
    vault = first.json["vault"]
    assert inside("--vault", vault, "connect", "sandbox-machine/nightly").code == 0
    assert first.end() == (0, f"valetkey: made a new vault at {vault}\n")
    second = served("--try", *ANY_PORTS, last="The sandbox is")
    assert inside("--vault", vault, "connection", "list", "--json").json == []
    assert inside("--vault", vault, "connect", "sandbox-machine/nightly").code == 0
    code, err = second.end()
    assert (code, "forgot 1 connections" in err) == (0, True)


def test_an_app_of_yours_is_not_replaced_by_the_sandboxs(inside, refused, tmp_path):
    given = ("--client-id", "mine", "--secret-stdin", "--vault", str(tmp_path / "v.db"))
    assert inside("app", "add", "sandbox", "github", *given, stdin="a-secret-of-mine").code == 0
    done = refused("--sandbox", *ANY_PORTS, "--vault", str(tmp_path / "v.db"))
    assert (done.code, done.error["code"]) == (2, "already_exists")
    assert inside("app", "show", "sandbox", "--vault", str(tmp_path / "v.db"), "--json").json["client_id"] == "mine"


@pytest.mark.parametrize(
    ("called", "said"),
    [
        ("here/.venv/bin/valetkey", ".venv/bin/valetkey"),
        ("else where/bin/vk", "'{root}/else where/bin/vk'"),
        ("valetkey/__main__.py", f"{sys.executable} -m valetkey"),
    ],
)
def test_the_program_is_named_as_it_can_be_called_from_here(tmp_path, monkeypatch, called, said):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / called)])
    assert trial.program() == said.format(root=tmp_path.resolve())
    assert trial.typed_here("say `valetkey token a/b`") == f"say `{trial.program()} token a/b`"


def test_a_try_takes_another_port_where_the_usual_one_is_taken(monkeypatch, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(serve, "PORT", port)
        monkeypatch.setattr(trial, "SANDBOX_PORT", port)
        with serve._listener(asked(try_=True)) as listener:
            assert listener.getsockname()[1] != port
        sandbox = trial.start_sandbox(None, "http://127.0.0.1:1", usual=True)
        sandbox.stop()
        assert sandbox.port != port
    assert f"port {port} is taken" in capsys.readouterr().err


def asked(**changes) -> serve.Asked:
    nothing = {"host": "127.0.0.1", "port": None, "public_url": "", "sandbox": False, "sandbox_port": None}
    nothing |= {"try_": False, "tls_cert": None, "tls_key": None, "behind_tls_proxy": False, "access_log": None}
    nothing |= {"operator_key_file": None, "keep": True}
    return serve.Asked(**{**nothing, **changes})


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--host", "0.0.0.0"), "insecure_url", "--behind-tls-proxy"),
        (("--host", "::"), "insecure_url", "--behind-tls-proxy"),
        (("--host", "127.0.0.1.example"), "insecure_url", "--behind-tls-proxy"),
        (("--host", "0.0.0.0", "--behind-tls-proxy"), "invalid_input", "--public-url"),
        (("--tls-cert", "chain.pem"), "invalid_input", "go together"),
        (("--public-url", "http://auth.example"), "insecure_url", "http"),
        (("--public-url", "https://auth.example/path"), "invalid_input", "origin"),
        (("--public-url", "auth.example"), "invalid_input", "URL"),
        (("--tls-cert", "no.pem", "--tls-key", "no.pem"), "invalid_input", "PEM"),
        (("--sandbox-port", "70000"), "usage", "70000"),
    ],
)
def test_what_would_be_unsafe_or_cannot_be_is_refused(refused, arguments, code, words):
    done = refused("--port", "0", *arguments)
    assert (done.code, done.error["code"]) == (2, code)
    assert words in json.dumps(done.error)


def test_a_taken_port_is_called_so(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = refused("--port", port)
        assert done.code == 2
        assert (f"port {port}" in done.error["message"], "--port 0" in done.error["fix"]) == (True, True)
        done = refused("--port", "0", "--sandbox", "--sandbox-port", port)
        assert (done.code, "--sandbox-port" in done.error["fix"]) == (2, True)


@pytest.mark.parametrize("package", ["litestar", "uvicorn", "jinja2"])
def test_without_the_extra_it_says_what_to_install(valetkey, package):
    code = f"import sys; sys.modules[{package!r}] = None; sys.argv = ['valetkey', 'serve', '--port', '0']\n"
    code += "from valetkey.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=valetkey.env, timeout=60, check=False
    )
    assert done.returncode == 2
    assert to_add("server") in done.stderr.replace("\n         ", " ")


# ── serving ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_reads_the_first_it_says_may_stop_it_in_the_same_moment(served, home):
    new = f"valetkey: made a new vault at {home / 'data' / 'valetkey' / 'vault.db'}\n"
    assert served("--sandbox", *ANY_PORTS, last="\n").end() == (0, new + "valetkey: stopped\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_ends_cleanly(served, number):
    running = served("--port", "0", last="health")
    assert httpx.get(f"{running.url}/health", trust_env=False, verify=False).json() == {
        "status": "ok",
        "connections": {},
    }
    code, err = running.end(number)
    assert code == 0
    assert "stopped" in err
    assert "Traceback" not in err


def test_the_access_log_leaves_out_the_query(served):
    running = served("--port", "0", "--json")
    httpx.get(f"{running.json['url']}/callback?code=secret-code&state=secret-state", trust_env=False, verify=False)
    code, err = running.end()
    assert (code, "GET /callback 303" in err) == (0, True)
    assert "secret-" not in err


@pytest.mark.parametrize("public", [True, False])
def test_the_operators_key_is_asked_for_everywhere_and_its_file_is_named(served, tmp_path, public):
    vault = str(tmp_path / "v.db")
    more = ("--public-url", "https://auth.example/", "--behind-tls-proxy") if public else ()
    running = served("--port", "0", "--vault", vault, *more, last="operator's key")
    key = tmp_path / "v.operator"
    assert str(key) in running.said
    assert key.read_text().strip() not in running.said
    assert ("https://auth.example/callback" in running.said) is public
    if not public:
        assert httpx.get(running.url, trust_env=False, verify=False).headers["location"] == "/enter"


@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
def test_a_link_to_enter_by_is_shown_on_a_terminal_and_nowhere_else(valetkey, served, tmp_path):
    ours, its = os.openpty()
    shown = ""
    with valetkey.start("serve", "--try", *ANY_PORTS, cwd=tmp_path, stdout=its):
        while "The sandbox is" not in shown:
            shown += os.read(ours, 4096).decode()
        url, link = re.search(r"(http://127\.0\.0\.1:\d+)/enter#(\S+)", shown).groups()
        page = entered(url, link=link)
        assert (page.status_code, "Connections" in page.text) == (200, True)
        assert entered(url, link=link).status_code == 403, "it is good once"
    os.close(ours)
    os.close(its)
    plain, trial, program = ("--port", "0"), ("--try", *ANY_PORTS), ("--port", "0", "--json")
    for arguments, last in ((plain, "operator's key"), (trial, "The sandbox is"), (program, "}")):
        running = served(*arguments, last=last)
        assert "#" not in running.said, "what is no terminal may be kept as a log"
        running.end()


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1, signed by itself, and its key."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return chain, private


def test_it_speaks_tls_itself(served, tmp_path):
    import ssl

    chain, key = certificate(tmp_path)
    running = served("--port", "0", "--tls-cert", str(chain), "--tls-key", str(key), "--sandbox", "--json")
    with httpx.Client(verify=ssl.create_default_context(cafile=str(chain)), trust_env=False) as client:
        page = client.get(f"{running.json['url']}/enter")
    assert running.json["redirect_uri"].startswith("https://127.0.0.1:")
    assert page.headers["set-cookie"].startswith("__Host-valetkey-browser=")
    assert "Secure" in page.headers["set-cookie"]
    assert "strict-transport-security" in page.headers


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("no/such/key", 7, "no/such/key cannot be read or made: No such file or directory"),
        ("no/eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.Q2FuYXJ5", 7, "the operator's key what was given cannot be"),
        ("no/valetkey-key-1 Q2FuYXJ5", 7, "the operator's key what was given cannot be"),
        ("~nosuchuser/key", 2, "no home folder is known for ~nosuchuser"),
    ],
)
def test_an_operators_key_is_not_put_where_no_folder_is(valetkey, tmp_path, given, code, said):
    assert valetkey("vault", "init", "--vault", "v.db", cwd=tmp_path).code == 0
    words = ("--port", "0", "--vault", "v.db", "--operator-key-file", given)
    done = valetkey("serve", *words, cwd=tmp_path)
    assert (done.code, said in done.err) == (code, True), done.err
    assert "Q2FuYXJ5" not in done.err
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "v.spill"] == []
