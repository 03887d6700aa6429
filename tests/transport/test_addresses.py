"""Which addresses are public, and that the address checked is the address connected to."""

from __future__ import annotations

import pytest

from valetkey.errors import InvalidInput, ProviderError
from valetkey.transport import addresses
from valetkey.values import Request

pytestmark = pytest.mark.network

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "64:ff9b::8.8.8.8"]

NOT_PUBLIC = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",  # the metadata service of the clouds
    "100.64.0.1",  # RFC 6598
    "100.100.100.200",  # the metadata service of Alibaba
    "192.0.0.192",  # the metadata service of Oracle
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2001:db8::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    "2002:7f00:1::1",  # 6to4 of 127.0.0.1
    "fc00::1",
    "fd00:ec2::254",  # the metadata service of AWS
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_open_internet_is_public(address):
    assert addresses.is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_of_any_other_kind_is_not(address):
    assert not addresses.is_public(address)


@pytest.mark.parametrize("found", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:10.0.0.1"], ["::1"]])
def test_a_name_with_an_address_that_is_not_public_is_not_asked(serve, send, names, found):
    server = serve(OK)
    names.put("keys.example", found)
    with pytest.raises(ProviderError) as caught:
        send(Request("GET", server.url(host="keys.example", scheme="https"), public_only=True))
    assert caught.value.code == "blocked_address"
    assert caught.value.evidence["sent"] is False
    assert "keys.example" in caught.value.message
    assert not any(address in caught.value.explain() for address in found)
    assert server.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_an_address_of_this_machine_or_network_is_not_asked(serve, send, host):
    server = serve(OK)
    with pytest.raises(ProviderError) as caught:
        send(Request("GET", server.url(host=host, scheme="https"), public_only=True))
    assert caught.value.code == "blocked_address"
    assert server.connections == 0


@pytest.mark.parametrize("public_only", [False, True])
@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "127.0.0.0x1",
        "a.0x",
        "[fe80::1%25lo]",
    ],
)
def test_an_address_that_only_a_resolver_takes_for_one_is_refused(send, host, public_only):
    with pytest.raises(InvalidInput):
        send(Request("GET", f"https://{host}/", public_only=public_only))


def test_without_the_rule_this_machine_may_be_asked(serve, send):
    assert send(Request("GET", serve(OK).url())).status == 200


def test_a_connection_made_without_the_rule_is_not_used_under_it(serve, send):
    server = serve(OK)
    send(Request("GET", server.url()))
    with pytest.raises(ProviderError):
        send(Request("GET", server.url(), public_only=True))
    assert len(server.requests) == 1


def test_the_address_checked_is_the_one_connected_to(serve, make_sender, names, authority, monkeypatch):
    """DNS rebinding: a second look-up would give an address nobody listens on. The name stays in SNI and certificate."""
    seen = []
    context = authority.context("keys.example")
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    server, send = serve(OK, context), make_sender()
    names.put("keys.example", ["127.0.0.1"], ["127.0.0.9"])
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    response = send(Request("GET", server.url(host="keys.example"), public_only=True))
    assert response.status == 200
    assert (names.asked, seen) == (["keys.example"], ["keys.example"])
    assert server.requests[0][1]["host"] == f"keys.example:{server.port}"


def test_the_next_address_is_tried_when_one_refuses(serve, make_sender, names, authority):
    server, send = serve(OK, authority.context("login.example")), make_sender()
    names.put("login.example", ["::1", "127.0.0.1"])
    assert send(Request("GET", server.url(host="login.example"))).status == 200
