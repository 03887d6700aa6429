"""Write the pages of docs/ that are made from the code: one `docs/_<name>.py` with `render() -> str` each.

`make docs` writes `docs/<name>.md` (an underscore in the name becomes a hyphen); tests/house checks that what is
committed is what would be written. What may not be here: the text of any page.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent


def pages() -> dict[Path, str]:
    """Return every generated page with its text."""
    makers = sorted(HERE.glob("_[a-z]*.py"))
    return {HERE / f"{maker.stem[1:].replace('_', '-')}.md": _render(maker) for maker in makers}


def _render(maker: Path) -> str:
    spec = importlib.util.spec_from_file_location(f"valetkey_docs{maker.stem}", maker)
    if spec is None or spec.loader is None:
        raise ImportError(f"{maker} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.render()
    return f"<!-- Made from the code by docs/{maker.name}; change that and run `make docs`. -->\n\n{text.strip()}\n"


def main() -> None:
    """Write the pages that have changed, and say which."""
    for page, text in pages().items():
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {page.relative_to(HERE.parent)}\n")


if __name__ == "__main__":
    main()
