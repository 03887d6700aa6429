"""Which hosts a stranger's document may name: none that plainly lies inside, on this machine or in its network.

Only what is written is judged. What a name resolves to is judged where it is asked (`Request.public_only`).
What may not be here: look-ups, URLs.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

PRIVATE: Final = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Where self-hosted servers live (RFC 1918, 6598, 4193): allowed on demand, unlike loopback and link-local."""

THIS_MACHINE: Final = frozenset(
    {"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "localdomain", "broadcasthost"}
)
"""Names that /etc/hosts gives this machine, and top-level names that no one else has (RFC 6761 section 6.3)."""

PRIVATE_NAMES: Final = (".local", ".internal", ".lan", ".intranet", ".home.arpa")
"""Names of networks of one's own (RFC 6762, RFC 8375, and `.internal`, under which clouds keep their secrets)."""

CLOUDS: Final = frozenset({"metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"})
"""Names under which clouds hand out credentials to whoever asks; not allowed on demand either."""

_ODD_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""What many resolvers take for an IPv4 address though it is not written as one (WHATWG URL, "ends in a number")."""


def lies_inside(host: str, *, allow_private: bool = False) -> bool:
    """Say whether a host is plainly not on the open internet; `allow_private` lets one's own network count as open."""
    name = host.lower().strip("[]").rstrip(".")
    if not name or "%" in name or name.rpartition(".")[2] in THIS_MACHINE or name in CLOUDS:
        return True
    try:
        return not _is_open(ip_address(name), allow_private=allow_private)
    except ValueError:
        pass
    if ":" in name or _ODD_NUMBER.fullmatch(name):
        return True
    return name.endswith(PRIVATE_NAMES) and not allow_private


def _is_open(address: IPv4Address | IPv6Address, *, allow_private: bool) -> bool:
    within = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if within is not None or getattr(address, "teredo", None) is not None:
        return False  # no honest document writes an IPv4 address in this way
    if allow_private and any(address in network for network in PRIVATE):
        return True
    return address.is_global and not (address.is_multicast or address.is_reserved)
