"""valetkey's own HTTP client, over which token endpoints, discovery documents and key sets are asked.

Never the user's client: its hooks, history and logs would see tokens (docs/architecture.md).

    exchange.py    one request on its way: where to, until when, whether it has left; and reading the answer
    failures.py    what went wrong, as one of our errors
    addresses.py   looking up a name, and which addresses are public
    proxies.py     HTTPS_PROXY and NO_PROXY
    wire.py        sockets with a deadline, TLS, connections          (loads urllib3 and ssl)
    sync.py        Transport: a pool of those, for threads
    aiowire.py     the same manners on aiohttp                        (loads aiohttp and asyncio)
    aio.py         AsyncTransport: aiohttp where it is installed, else a thread

What may not be here: OAuth. Importing this room loads neither urllib3 nor aiohttp nor ssl: most runs of
`valetkey token` find a fresh token and send nothing.
"""

from valetkey.transport.aio import AsyncTransport
from valetkey.transport.sync import Transport

__all__ = ["AsyncTransport", "Transport"]
