"""Looking up a name, and which addresses are public.

What may not be here: connections. The address that was checked is the address connected to, so that a name which
answers differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from threading import Thread
from typing import Final, TypeAlias

Info: TypeAlias = "tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]"
"""One answer of getaddrinfo: family, type, protocol, canonical name, address."""

NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address, which is what is reached."""

NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "100.64.0.0/10",  # shared, RFC 6598
        "192.0.0.0/24",  # protocol assignments, RFC 6890; Oracle's metadata service
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "::/8",  # unspecified, loopback, IPv4-compatible, IPv4-mapped, local NAT64
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
        "fec0::/10",  # site-local, RFC 3879
    )
)
"""Beside what `ipaddress` knows, which changes from one Python to the next (IANA special-purpose registries)."""


def lookup(host: str, port: int) -> Future[list[Info]]:
    """Start to look up a name; the result may be socket.gaierror.

    In a thread of its own, because the system's resolver can be neither timed nor stopped; a daemon, so that nobody
    waits for it at the end of the program, as they would for a worker of asyncio's pool.
    """
    future: Future[list[Info]] = Future()
    future.set_running_or_notify_cancel()  # who no longer waits cannot cancel it, and the thread may still set it

    def work() -> None:
        try:
            future.set_result(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except UnicodeError:  # a label that is empty or too long
            future.set_exception(socket.gaierror(socket.EAI_NONAME, "not a host name"))
        except Exception as error:  # noqa: BLE001  # it belongs to whoever waits
            future.set_exception(error)

    if literal(host) is not None:
        work()
    else:
        Thread(target=work, name="valetkey-lookup", daemon=True).start()
    return future


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is, None if it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def all_public(found: Iterable[Info]) -> bool:
    """Say whether every address found is public; one that is not spoils the name, as no honest name has both."""
    return all(is_public(str(address[0])) for _, _, _, _, address in found)


def is_public(text: str) -> bool:
    """Say whether an address is on the open internet, and says so itself.

    Not: loopback, private, link-local, multicast, reserved, unspecified, shared (RFC 6598), documentation; nor IPv6
    addresses that carry an IPv4 address inside (mapped, 6to4, Teredo), as no name has a reason to have one. NAT64 is
    the exception: in IPv6-only networks the resolver makes such addresses for every name, so the one inside is judged.
    """
    address = literal(text)
    if isinstance(address, IPv6Address) and address in NAT64:
        return is_public(str(IPv4Address(address.packed[-4:])))
    if address is None or any(address in network for network in NEVER):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
