"""Open a browser at an address that stands in nobody's argument list, for every user of a machine can read those.

The browser is started with the address of a page of ours, which only its owner can read and which leads on at once.
The page lies in a folder of its own directly in the home folder: browsers packed as snaps may read there, but neither
in /tmp nor in folders that begin with a dot. Where it cannot be written, or the browser cannot read it, there is the
address on the terminal. What may not be here: what the address is for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

PREFIX: Final = "valetkey-login-"

LEFT_SECONDS: Final = 3600.0
"""A page as old as this was left by a process that was killed; what it led to is long over."""

PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>valetkey</title>
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none'">
<meta http-equiv="refresh" content="0; url={url}">
</head><body><p><a href="{url}" rel="noreferrer">Go on to {host}</a></p></body></html>
"""


@contextmanager
def opened(url: str) -> Iterator[bool]:
    """Open a browser at an address, and remove the page again; gives whether that could be tried."""
    _tidy()
    page = _page(url)
    if page is None:
        yield False
        return
    try:
        _open(page)
        yield True
    finally:
        shutil.rmtree(page.parent, ignore_errors=True)


def _page(url: str) -> Path | None:
    """Write the page that leads on, readable by its owner only; None where the home folder takes none."""
    text = PAGE.format(url=escape(url), host=escape(urlsplit(url).hostname or ""))
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=Path.home()))  # mode 0700
        page = folder / "login.html"
        with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    return page


def _tidy() -> None:
    with suppress(OSError, RuntimeError):
        for folder in Path.home().glob(f"{PREFIX}*"):
            if folder.lstat().st_mtime < time.time() - LEFT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)  # which follows no link


def _open(page: Path) -> None:
    import webbrowser

    # On a thread, because a browser in a terminal, or one named by BROWSER, returns only when it is closed.
    threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()
