"""Run the benchmarks: `make bench`, or `python -m bench vault jose inject` to choose.

Each module of this folder has `main() -> list[Row]`. Figures are of this machine and this minute; what counts is the
ratio against a peer measured in the same run. Nothing here asserts: the reports stand in docs/.
"""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path

from bench.rows import Row, table

HERE = Path(__file__).parent
NOT_BENCHES = {"__init__", "__main__", "rows"}


def main(chosen: list[str]) -> None:
    names = chosen or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHES)
    print(f"Python {platform.python_version()}, {platform.machine()}, {platform.system()}\n")
    for name in names:
        rows: list[Row] = importlib.import_module(f"bench.{name}").main()
        print(f"## {name}\n")
        print(table(rows))
        print()


if __name__ == "__main__":
    main(sys.argv[1:])
