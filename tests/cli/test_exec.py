"""`valetkey exec`: the token reaches the child, and nobody else sees it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from clikit import SECONDS
from valetkey.cli.exec import places_for
from valetkey.errors import InvalidInput

ECHO = [sys.executable, "-c", "import os, sys; print([os.environ.get(name) for name in sys.argv[1:]])"]


@pytest.mark.parametrize(
    ("names", "variables", "places"),
    [
        (["a/b"], [], {"VALETKEY_TOKEN": "a/b"}),
        (["a/b"], ["TOKEN"], {"TOKEN": "a/b"}),
        ([], ["TOKEN=a/b"], {"TOKEN": "a/b"}),
        (["a/b", "c/d.e@f"], [], {"VALETKEY_TOKEN_A_B": "a/b", "VALETKEY_TOKEN_C_D_E_F": "c/d.e@f"}),
        (["a/b"], ["X=c/d"], {"X": "c/d", "VALETKEY_TOKEN_A_B": "a/b"}),
        (["a/b", "a/b"], [], {"VALETKEY_TOKEN": "a/b"}),
        ([], ["X=a/b", "Y=a/b"], {"X": "a/b", "Y": "a/b"}),
    ],
)
def test_each_connection_has_its_variable(names, variables, places):
    assert places_for(tuple(names), tuple(variables)) == places


@pytest.mark.parametrize(
    ("names", "variables", "on_fd"),
    [
        ([], [], False),
        (["a/b", "c/d"], ["TOKEN"], False),
        (["a/b"], ["TOKEN", "OTHER"], False),
        (["a/b"], ["TO-KEN"], False),
        (["a/b"], ["=a/b"], False),
        (["a/b", "a/B"], [], False),  # both would be VALETKEY_TOKEN_A_B
        ([], ["X=a/b", "X=c/d"], False),
        (["a/b", "c/d"], [], True),
        (["a/b"], ["X"], True),
    ],
)
def test_what_cannot_be_meant_is_refused(names, variables, on_fd):
    with pytest.raises(InvalidInput) as refused:
        places_for(tuple(names), tuple(variables), on_fd=on_fd)
    assert refused.value.fix


@pytest.mark.network
def test_the_child_finds_the_token_in_its_environment(valetkey, inside, robot):
    token = inside("token", "robot/one").out.strip()
    assert valetkey("exec", "robot/one", "--", *ECHO, "VALETKEY_TOKEN").out == f"['{token}']\n"
    assert valetkey("exec", "--env", "T=robot/one", "--", *ECHO, "T", "VALETKEY_TOKEN").out == f"['{token}', None]\n"


@pytest.mark.network
def test_the_child_reads_the_token_once_from_a_file_descriptor(valetkey, inside, robot):
    token = inside("token", "robot/one").out.strip()
    reads = [sys.executable, "-c", "import os; f = open(7); print(f.read(), 'VALETKEY_TOKEN' in os.environ, f.read())"]
    assert valetkey("exec", "robot/one", "--fd", "7", "--", *reads).out == f"{token} False \n"


@pytest.mark.network
@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-program-anywhere"], 127, "not found"),
        ([os.devnull], 126, "Permission denied"),
        ([sys.executable, "-c", "raise SystemExit(7)"], 7, ""),
    ],
)
def test_the_exit_code_is_the_childs_or_what_shells_say(valetkey, robot, command, code, words):
    done = valetkey("exec", "robot/one", "--", *command)
    assert (done.code, words in done.err) == (code, True)


@pytest.mark.network
def test_signals_are_the_childs_and_none_is_ignored(valetkey, robot):
    shows = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    ignored = f"{shows}; print(open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"
    waits = [sys.executable, "-u", "-c", f"{ignored}; signal.pause()"]
    with valetkey.start("exec", "robot/one", "--", *waits) as process:
        assert process.stdout.readline() == "True\n"
        # The child is a Python too, which ignores SIGPIPE and SIGXFSZ by itself; beyond that and what we were started
        # with, nothing may be ignored.
        mask = int(process.stdout.readline(), 16)
        mine = int(Path("/proc/self/status").read_text().split("SigIgn:")[1].split()[0], 16)
        assert mask & ~mine & ~sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ)) == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == -signal.SIGTERM


@pytest.mark.network
def test_a_shell_behind_it_dies_of_a_closed_pipe_as_shells_do(valetkey, robot):
    done = valetkey("exec", "robot/one", "--", "sh", "-c", "yes | head -1; exit 0")
    assert (done.code, done.out, done.err) == (0, "y\n", "")


@pytest.mark.network
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_the_token_stands_in_no_argument_list_and_with_fd_in_no_environment(valetkey, inside, robot):
    token = inside("token", "robot/one").out.strip()
    for more, seen in ((["--fd", "3"], False), ([], True)):
        with valetkey.start("exec", "robot/one", *more, "--", "sh", "-c", "echo ready; read line") as process:
            assert process.stdout.readline() == "ready\n"
            place = Path(f"/proc/{process.pid}")
            assert token.encode() not in (place / "cmdline").read_bytes()
            assert (token.encode() in (place / "environ").read_bytes()) is seen
