"""No secret stands in an argument list, which every user of a machine can read: ours, or that of a program we start.

The program runs with an audit hook (PEP 578) that writes down whatever it starts, and reads /proc/self/cmdline at its
end. What may not be here: `curl` and `exec`, which are given tokens to hand over (test_curl.py, test_exec.py).
"""

from __future__ import annotations

import base64
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from clikit import MACHINE_SECRET, Program
from keykit import box_of
from valetkey.values import Secret
from valetkey.vault.keks.giving import Given, kek_of
from valetkey.vault.places import Place

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc"),
]

LAUNCH = """
import sys
told = open(sys.argv[1], "ab", 0)
def hear(name, what):
    if name in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn"}:
        told.write(f"{name} {what[:2]!r}\\n".encode("utf-8", "backslashreplace"))
    elif name in {"os.system", "os.putenv", "pty.spawn"}:
        told.write(f"{name} {what!r}\\n".encode("utf-8", "backslashreplace"))
sys.addaudithook(hear)
from valetkey.cli.running import run
code = run(sys.argv[2:])
told.write(b"ended " + open("/proc/self/cmdline", "rb").read() + b"\\n")
sys.exit(code)
"""


class Heard(Program):
    """The program, with what it starts written down in a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", LAUNCH, str(self.file), *arguments]

    def assert_ended(self, times: int) -> None:
        """Fail unless so many calls came to their end and wrote down what they were called with."""
        assert sum(line.startswith("ended ") for line in self.file.read_text().splitlines()) == times


@pytest.fixture
def heard(home, tmp_path):
    return Heard(tmp_path / "heard")


@contextmanager
def descriptor(text):
    read, write = os.pipe()
    os.write(write, f"{text}\n".encode())
    os.close(write)
    try:
        yield read
    finally:
        os.close(read)


def watch_key(canary, place: Place, given: Given | None = None) -> None:
    """Search also for the key that the vault is kept under now."""
    key = kek_of(place, box_of(place), given).reveal()
    for name, text in (("hex", key.hex()), ("base64", base64.b64encode(key).decode()), ("repr", repr(key)[2:-1])):
        canary.watch(f"the vault's key in {name}", text)


def test_what_is_started_is_heard(robot, heard):
    """Else the tests below would prove nothing."""
    assert heard("exec", "robot/one", "--", "true", "an-argument").code == 0
    assert "an-argument" in heard.file.read_text()


def test_publishing_puts_no_secret_into_an_argument_list(robot, heard, vault_server, canary, tmp_path):
    canary.watch("client secret", MACHINE_SECRET)
    canary.watch("access token", heard("token", "robot/one").out.strip())
    canary.watch("token of the Vault", vault_server.root)
    heard.env |= {"VAULT_ADDR": vault_server.address, "VAULT_TOKEN": vault_server.root}
    targets = (f"file:{tmp_path}/token", "vault:secret/token")
    said = [heard("publish", "add", "robot/one", target) for target in targets]
    said += [heard("publish", "now"), heard("publish", "list", "--json")]
    assert canary.found_in(tmp_path / "token") == ["access token"], "it was published"
    said += [heard("publish", "rm", "robot/one", target) for target in targets]
    assert [done.code for done in said] == [0] * 6
    heard.assert_ended(7)
    canary.assert_absent(heard.file, *(done.out + done.err for done in said))


@pytest.mark.usefixtures("aws_endpoint")
def test_a_vaults_key_and_passphrase_stand_in_no_argument_list(heard, vault_server, canary, tmp_path, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", vault_server.address)
    monkeypatch.setenv("VAULT_TOKEN", vault_server.root)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canary.make("secret access key"))
    heard.env |= {name: value for name, value in os.environ.items() if name.startswith(("VAULT_", "AWS_"))}
    canary.watch("token of the Vault", vault_server.root)
    phrase, other = canary.make("passphrase"), canary.make("next passphrase")
    arn = a_kms_key()
    place, said = Place.of(tmp_path / "v.db"), []

    def run(*arguments, now="", new=""):
        with descriptor(now) as first, descriptor(new) as second:
            options = [*(("--passphrase-fd", str(first)) if now else ())]
            more = [*(("--new-passphrase-fd", str(second)) if new else ())]
            said.append(
                heard("--vault", str(place.path), *options, "vault", *arguments, *more, pass_fds=(first, second))
            )

    run("init", "--key", "passphrase", new=phrase)
    run("check", now=phrase)
    run("rewrap", "--to", "passphrase", now=phrase, new=other)
    watch_key(canary, place, Given(ask=lambda: Secret(other)))
    run("rewrap", "--to", "file", now=other)
    watch_key(canary, place)
    run("rewrap", "--to", "transit:valetkey")
    watch_key(canary, place)
    run("rewrap", "--to", f"aws-kms:{arn}")
    watch_key(canary, place)
    run("check")
    assert [(done.code, done.err) for done in said if done.code] == []
    heard.assert_ended(7)
    canary.assert_absent(heard.file, *(done.out + done.err for done in said))


def a_kms_key() -> str:
    import boto3

    client = boto3.client("kms")
    try:
        return client.create_key()["KeyMetadata"]["Arn"]
    finally:
        client.close()
