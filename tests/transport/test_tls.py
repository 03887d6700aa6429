"""TLS: always verified, against the system's CAs or SSL_CERT_FILE, and every fault of a certificate named."""

from __future__ import annotations

import ssl

import pytest

from valetkey.errors import ProviderTimeout, ProviderUnavailable, TlsFailed
from valetkey.values import Request

pytestmark = pytest.mark.network

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def failure(send, server, host: str = "localhost") -> TlsFailed:
    """Return how a POST fails, which must be before anything of it was sent."""
    with pytest.raises(TlsFailed) as caught:
        send(Request("POST", server.url(host=host, scheme="https"), body=b"x"))
    assert not caught.value.sent
    assert server.requests == []
    assert caught.value.fix
    return caught.value


def test_a_certificate_of_a_known_ca_holds(serve, make_sender, authority):
    server, send = serve(OK, authority.context("localhost")), make_sender()
    for _ in range(2):
        assert send(Request("POST", server.url(host="localhost"), body=b"x")).body == b"{}"
    assert server.connections == 1


def test_a_certificate_of_an_unknown_ca_is_refused(serve, make_sender, authority, monkeypatch):
    server = serve(OK, authority.context("localhost"))
    monkeypatch.delenv("SSL_CERT_FILE")
    error = failure(make_sender(), server)
    assert error.cause == "the certificate is signed by a CA this machine does not know"


def test_an_expired_certificate_is_refused(serve, make_sender, authority):
    error = failure(make_sender(), serve(OK, authority.context("localhost", days=(-9, -1))))
    assert error.message.endswith("has expired")


def test_a_certificate_of_tomorrow_is_refused(serve, make_sender, authority):
    error = failure(make_sender(), serve(OK, authority.context("localhost", days=(1, 9))))
    assert error.cause == "the certificate is not valid yet"


def test_a_self_signed_certificate_is_refused(serve, make_sender, authority):
    error = failure(make_sender(), serve(OK, authority.context("localhost", self_signed=True)))
    assert error.cause == "the certificate is self-signed"
    assert "SSL_CERT_FILE" in error.fix


def test_a_certificate_of_another_host_is_refused(serve, make_sender, authority):
    server = serve(OK, authority.context("other.example"))
    assert failure(make_sender(), server).cause == "the certificate is for another host name"


def test_a_certificate_without_the_address_is_refused(serve, make_sender, authority):
    server = serve(OK, authority.context("localhost"))
    assert failure(make_sender(), server, "127.0.0.1").cause == "the certificate is for another address"


def test_a_server_without_tls_is_named_as_such(serve, make_sender, authority):
    def plain(connection, server):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    server = serve(plain)
    with pytest.raises(TlsFailed) as caught:
        make_sender()(Request("POST", server.url(scheme="https", host="localhost"), body=b"x"))
    assert not caught.value.sent
    assert caught.value.cause == "the server does not speak TLS on this port"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_tls_older_than_1_2_is_refused(serve, make_sender, authority):
    context = authority.context("localhost")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    failure(make_sender(), serve(OK, context))


def test_tls_1_2_is_spoken(serve, make_sender, authority):
    context = authority.context("localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = serve(OK, context)
    assert make_sender()(Request("GET", server.url(host="localhost"))).status == 200


def test_a_handshake_that_is_hung_up_on_has_sent_nothing(serve, make_sender, authority):
    server = serve(lambda connection, server: connection.recv(1))
    with pytest.raises(ProviderUnavailable) as caught:
        make_sender()(Request("POST", server.url(scheme="https", host="localhost"), body=b"x"))
    assert not caught.value.sent


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_tls_connection_cut_in_the_answer_may_have_carried_the_request(serve, make_sender, authority, answer):
    server = serve.once(answer, authority.context("localhost"))
    with pytest.raises(ProviderUnavailable) as caught:
        make_sender()(Request("POST", server.url(host="localhost"), body=b"x"))
    assert caught.value.sent


def test_the_deadline_holds_under_tls(serve, make_sender, authority):
    def drip(connection, server):
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not server.go_on.wait(0.02):
            connection.sendall(b"x")

    server = serve(drip, authority.context("localhost"))
    with pytest.raises(ProviderTimeout) as caught:
        make_sender()(Request("POST", server.url(host="localhost"), body=b"x", timeout=0.5))
    assert caught.value.sent


def test_an_idle_tls_connection_closed_by_the_server_is_noticed(serve, make_sender, authority):
    def once_and_wait(connection, server):
        if server.read(connection):
            connection.sendall(OK)
            server.go_on.wait()

    server, send = serve(once_and_wait, authority.context("localhost")), make_sender()
    send(Request("POST", server.url(host="localhost"), body=b"one"))
    server.go_on.set()
    assert server.gone.wait(30)
    assert send(Request("POST", server.url(host="localhost"), body=b"two")).status == 200
