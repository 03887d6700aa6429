"""The server's face: pages, the callback, health. It needs the extra `server` (Litestar, uvicorn, Jinja2).

    serving.py    sockets, uvicorn, signals
    waiting.py    connections that keep silent, and how many requests at once
    app.py        the ASGI application: the shield around Litestar's routes
    shield.py     every request: which Host, which headers, the access log
    routes.py     one function per page
    browser.py    who sits at the browser: cookie, the guard on forms
    door.py       who may see the pages: the operator's key, the entry link, the session
    allowance.py  how much may be begun
    answers.py    errors as pages with the right HTTP status
    overview.py   what the first page shows
    pages.py      templates, the style, the content security policy

What may not be here: OAuth (vault/ and oauth/ do it), and importing this room from below.
"""
