"""Programs that hold opened tokens for days leave no core dump: the kernel is asked, of the real process."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from valetkey.cli.dumps import WANTED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ASK_THE_KERNEL = """
import ctypes, resource
from valetkey.cli.dumps import forbid_core_dumps
PR_GET_DUMPABLE = 3
print(forbid_core_dumps(), resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
"""


def unlimited():
    """Let the child begin where cores would be written, whatever this machine usually does."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def core_limit(pid: int) -> str:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in limits if line.startswith("Max core file size")).split()[4]


@pytest.mark.parametrize(("setting", "told"), [("", "True 0 0"), ("1", "False")])
def test_the_kernel_says_that_the_process_is_not_dumped_unless_it_was_asked_for(setting, told):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), WANTED: setting}
    done = subprocess.run(
        [sys.executable, "-c", ASK_THE_KERNEL],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=unlimited,
    )
    assert done.stdout.startswith(told)
    assert setting != "1" or done.stdout.split()[2] == "1", "the kernel's usual: it may be dumped"


@pytest.mark.network
@pytest.mark.parametrize("command", [("keep",), ("serve", "--port", "0", "--no-keep")])
def test_a_long_lived_program_that_crashes_leaves_no_core(valetkey, inside, tmp_path, command):
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == 0:
        pytest.skip("this machine allows no core dumps at all")
    inside("app", "add", "acme", "github", "--client-id", "x", "--public")
    with valetkey.start(*command, cwd=tmp_path, preexec_fn=unlimited) as process:
        (process.stdout if command[0] == "serve" else process.stderr).readline()  # says that it runs
        assert core_limit(process.pid) == "0"
        os.kill(process.pid, signal.SIGABRT)
        _pid, status = os.waitpid(process.pid, 0)
        process.returncode = -signal.SIGABRT
    assert os.WIFSIGNALED(status)
    assert not os.WCOREDUMP(status)
    assert not list(tmp_path.glob("core*"))
