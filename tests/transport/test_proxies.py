"""HTTPS_PROXY and NO_PROXY: who goes through the proxy, who never does, and what its refusal looks like."""

from __future__ import annotations

import select
import socket

import pytest

from valetkey.errors import InvalidInput, ProviderError, ProviderUnavailable
from valetkey.transport import Transport, proxies
from valetkey.transport.exchange import Target
from valetkey.values import Request

pytestmark = pytest.mark.network

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def tunnel_to(port: int):
    """Answer CONNECT, and then carry bytes to a port of this machine, whatever host was asked for."""

    def handler(connection, server):
        server.read(connection)
        with socket.create_connection(("127.0.0.1", port)) as other:
            server.open.add(other)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            while True:
                pending = getattr(connection, "pending", lambda: 0)()
                ready = [connection] if pending else select.select([connection, other], [], [])[0]
                for one in ready:
                    if not (data := one.recv(65536)):
                        return
                    (other if one is connection else connection).sendall(data)

    return handler


@pytest.fixture
def target(serve, authority):
    """Return a TLS server for a name that only the proxy can reach."""
    return serve(OK, authority.context("login.example"))


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_https_goes_through_the_proxy_that_the_environment_names(serve, target, make_sender, monkeypatch, variable):
    proxy = serve(tunnel_to(target.port))
    monkeypatch.setenv(variable, f"http://us%40er:pass@127.0.0.1:{proxy.port}")
    send = make_sender()
    for _ in range(2):
        assert send(Request("POST", target.url(host="login.example"), body=b"x")).status == 200
    first, headers, _ = proxy.requests[0]
    assert first.startswith(f"CONNECT login.example:{target.port} ".encode())
    assert headers["proxy-authorization"] == "Basic dXNAZXI6cGFzcw=="  # us@er:pass
    assert "proxy-authorization" not in target.requests[0][1]
    assert (len(proxy.requests), len(target.requests)) == (1, 2)


def test_a_proxy_may_speak_tls_itself(serve, target, make_sender, monkeypatch, authority):
    proxy = serve(tunnel_to(target.port), authority.context("localhost"))
    monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{proxy.port}")
    assert make_sender()(Request("POST", target.url(host="login.example"), body=b"x")).status == 200
    assert len(proxy.requests) == 1


def test_a_proxy_that_says_no_is_named_and_nothing_was_sent(serve, target, make_sender, monkeypatch, canary):
    proxy = serve.once(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{canary.make()}@127.0.0.1:{proxy.port}")
    with pytest.raises(ProviderUnavailable) as caught:
        make_sender()(Request("POST", target.url(host="login.example"), body=b"x"))
    assert not caught.value.sent
    assert caught.value.message.endswith(f"through the proxy 127.0.0.1:{proxy.port}")
    canary.assert_absent(caught.value.explain(), repr(caught.value.evidence))
    assert target.connections == 0


def test_a_proxy_that_is_not_there_is_named(target, make_sender, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    with pytest.raises(ProviderUnavailable) as caught:
        make_sender()(Request("POST", target.url(host="login.example"), body=b"x"))
    assert not caught.value.sent
    assert caught.value.evidence["proxy"] == f"127.0.0.1:{port}"


def test_this_machine_is_never_asked_through_a_proxy(serve, make_sender, monkeypatch, authority):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    send = make_sender()
    assert send(Request("GET", serve(OK).url())).status == 200
    assert send(Request("GET", serve(OK, authority.context("localhost")).url(host="localhost"))).status == 200


def test_a_host_in_no_proxy_is_asked_straight(target, make_sender, names, monkeypatch):
    names.put("login.example", ["127.0.0.1"])
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "other.example, .example")
    assert make_sender()(Request("GET", target.url(host="login.example"))).status == 200


def test_public_only_cannot_be_kept_through_a_proxy_and_says_so(serve, target, make_sender, monkeypatch):
    proxy = serve(tunnel_to(target.port))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(ProviderError) as caught:
        make_sender()(Request("GET", target.url(host="login.example"), public_only=True))
    assert caught.value.code == "blocked_address"
    assert "NO_PROXY" in caught.value.fix
    assert proxy.connections == 0


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1080", "https://", "http://[::1", "http://proxy:99999999"])
def test_a_proxy_url_that_is_none_is_refused_without_being_shown(monkeypatch, url):
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(InvalidInput) as caught:
        Transport()
    assert url not in caught.value.explain()


def test_a_proxy_may_be_written_without_scheme(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    proxy = proxies.from_environment()
    assert (proxy.url, proxy.place) == ("http://proxy.example:3128", "proxy.example:3128")
    assert "proxy.example:3128'" in repr(proxy)


@pytest.mark.parametrize(
    ("no", "host", "through"),
    [
        ("", "login.example.com", True),
        ("*", "login.example.com", False),
        ("example.com", "login.example.com", False),
        (".example.com", "login.example.com", False),
        ("*.example.com", "login.example.com", False),
        ("LOGIN.example.com", "login.example.com", False),
        ("login.example.com:443", "login.example.com", False),
        ("login.example.com:8443", "login.example.com", True),
        ("ample.com", "login.example.com", True),
        ("login.example", "login.example.com", True),
        ("a.example, ,login.example.com", "login.example.com", False),
        ("10.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "110.0.0.1", True),
        ("fd00::1", "fd00::1", False),
        ("[fd00::1]:443", "fd00::1", False),
        ("[fd00::1]:1", "fd00::1", True),
    ],
)
def test_no_proxy_names_hosts_and_domains(monkeypatch, no, host, through):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no)
    assert proxies.from_environment().for_target(Target("https", host, 443, "/")) is through
