"""Standard streams that the caller closed: read as empty, and written to as a disk that takes nothing.

And those that take nothing though they are open: a full disk, and a pipe whose reader has gone. What may not be here:
streams that take what is written.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from clikit import SECONDS

pytestmark = [pytest.mark.network, pytest.mark.skipif(os.name != "posix", reason="a POSIX shell closes them")]


def closed(valetkey, words, *numbers):
    """Run the program with some of its standard streams closed."""
    shut = " ".join(f"{number}>&-" for number in numbers)
    command = ["sh", "-c", f'exec "$@" {shut}', "sh", *valetkey.command(*words)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=valetkey.env, **pipes) as process:
        out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


RESULTS = (
    ("--version",),
    ("--version", "--json"),
    ("token", "robot/one"),
    ("token", "robot/one", "--json"),
    ("connection", "list"),
    ("connection", "list", "--json"),
    ("key", "generate"),
)


@pytest.mark.parametrize("numbers", [(1,), (0, 1)], ids=str)
@pytest.mark.parametrize("words", RESULTS)
def test_a_result_that_goes_nowhere_is_an_error(valetkey, robot, words, numbers):
    code, _, err = closed(valetkey, words, *numbers)
    assert code == 1
    if "--json" in words:
        told = json.loads(err)
        assert told.pop("fix").startswith("lead standard output elsewhere")
        assert told == {
            "code": "output_lost",
            "message": "the output cannot be written: Bad file descriptor",
            "cause": "standard output is closed",
        }
    else:
        assert err.splitlines()[:2] == [
            "valetkey: the output cannot be written: Bad file descriptor [output_lost]",
            "  cause: standard output is closed",
        ]


@pytest.mark.parametrize(
    "words",
    [
        ("app", "add", "acme", "google", "--client-id", "me", "--secret-stdin"),
        ("app", "add", "acme", "google", "--client-id", "me"),
        ("jwt", "verify", "--secret-file", "{secret}", "--issuer", "https://a.example", "--audience", "b"),
        ("jwt", "explain"),
        ("vault", "recover", "--key-file", "{secret}.key"),
        ("connect", "box/alice", "--no-browser"),
    ],
    ids=" ".join,
)
def test_a_closed_standard_input_is_an_empty_one(valetkey, box, tmp_path, words):
    secret = tmp_path / "secret"
    secret.write_text("a-shared-secret-of-more-than-32-bytes-for-hs256")
    words = [word.replace("{secret}", str(secret)) for word in (*words, "--json")]
    empty, gone = closed(valetkey, words), closed(valetkey, words, 0)
    assert gone[0] == empty[0] in {2, 8}
    assert gone[1] == empty[1]
    assert gone[2].splitlines()[-1:] == empty[2].splitlines()[-1:]


def test_a_closed_standard_error_takes_nothing_from_the_result(valetkey, robot):
    assert closed(valetkey, ("provider", "list"), 2)[:2] == closed(valetkey, ("provider", "list"))[:2]
    assert closed(valetkey, ("token", "robot/nobody"), 2) == (3, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110  # at import time
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--version",), 0),
        (("token", "robot/one"), 0),
        (("key", "generate", "--out", "{new}"), 0),
        (("token", "robot/nobody"), 3),
        (("token", "robot/nobody", "--json"), 3),
        (("nosuch",), 2),
        ((), 2),
        (("token", "robot/one", "--vault", "{new}"), 7),
    ],
)
def test_a_full_standard_error_changes_neither_result_nor_exit_code(valetkey, robot, tmp_path, words, code):
    def run(err, new):
        command = valetkey.command(*(word.replace("{new}", str(tmp_path / new)) for word in words))
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=err, text=True, env=valetkey.env, timeout=SECONDS, check=False
        )
        return done.returncode, done.stdout

    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        assert run(full, "one") == run(subprocess.DEVNULL, "two")
        assert run(full, "three")[0] == code


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_gone_is_told_by_the_exit_code_alone(valetkey, tmp_path, stream):
    reader, writer = os.pipe()
    os.close(reader)
    words = {"stdout": ("provider", "list"), "stderr": ("provider", "show", "nosuch")}[stream]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    done = subprocess.run(valetkey.command(*words), **pipes, text=True, env=valetkey.env, timeout=SECONDS, check=False)
    os.close(writer)
    assert (done.returncode, done.stdout or "", done.stderr or "") == (141, "", "")
