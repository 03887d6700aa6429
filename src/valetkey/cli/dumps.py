"""No core dumps of programs that hold opened tokens for days: a crash would write them all to disk, in the clear.

What may not be here: anything about secrets. Short commands are left alone: they hold one token for milliseconds.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

WANTED: Final = "VALETKEY_CORE_DUMPS"
"""Set to 1 to allow core dumps, and debuggers of the same user, for looking into a crash."""

PR_SET_DUMPABLE: Final = 4
"""prctl(2). It also keeps other processes of the same user from reading this one's memory (ptrace(2))."""


def forbid_core_dumps() -> bool:
    """Let this process leave no core dump; return whether that was done. VALETKEY_CORE_DUMPS=1 leaves it as it is.

    Two locks, because each has a gap: a limit of 0 is not asked where the kernel pipes dumps to a program
    (systemd-coredump; core(5)), and the flag is Linux's own. The hard limit stays, for programs that are started.
    """
    if os.environ.get(WANTED) == "1":
        return False
    done = False
    with suppress(ImportError, OSError, ValueError):
        import resource  # late: there is none on Windows

        _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
        done = True
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes  # late: as above

            done = ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 or done
    return done
