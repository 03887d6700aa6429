"""Asking AWS: against moto's server over HTTP, and against hand-made refusals."""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from valetkey.errors import InsecureUrl, InvalidInput, ManagerRefused, ManagerUnavailable
from valetkey.installing import to_add
from valetkey.managers.aws import Aws, Settings

pytestmark = pytest.mark.network


def read(name):
    return lambda client: client.get_secret_value(SecretId=name)["SecretString"]


def make(name, text):
    return lambda client: client.create_secret(Name=name, SecretString=text)


@pytest.fixture
def aws(aws_endpoint):
    made = Aws()
    yield made
    made.close()


def test_a_secret_is_read_back(aws):
    aws.ask("secretsmanager", make("google", "s3cr3t"), "make google")
    assert aws.ask("secretsmanager", read("google"), "read google") == "s3cr3t"


def test_the_key_service_is_reached_too(aws):
    key = aws.ask("kms", lambda client: client.create_key()["KeyMetadata"]["KeyId"], "make a key")
    sealed = aws.ask("kms", lambda client: client.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"], "seal")
    assert aws.ask("kms", lambda client: client.decrypt(CiphertextBlob=sealed)["Plaintext"], "open") == b"x"


def test_what_is_not_there_is_missing(aws):
    with pytest.raises(ManagerRefused) as caught:
        aws.ask("secretsmanager", read("nowhere"), "read nowhere")
    assert caught.value.code == "manager_secret_missing"
    assert "read nowhere" in str(caught.value)


def test_a_region_can_be_named_for_a_question(aws):
    aws.ask("secretsmanager", make("google", "of Ireland"), "make google", region="eu-west-1")
    with pytest.raises(ManagerRefused):
        aws.ask("secretsmanager", read("google"), "read google")
    assert aws.ask("secretsmanager", read("google"), "read google", region="eu-west-1") == "of Ireland"


# ── refusals by hand: moto has no quotas, and looks at no policy by default ──────────────────────────────────────


@pytest.fixture
def refusing(monkeypatch):
    """Give a server that answers every question with one status and code."""
    told = {"status": 400, "code": "ThrottlingException", "asked": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # the name the library looks for
            told["asked"] += 1
            self.rfile.read(int(self.headers["Content-Length"]))
            body = f'{{"__type": "{told["code"]}", "message": "words that are not repeated"}}'.encode()
            self.send_response(told["status"])
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr("time.sleep", lambda _: None)  # botocore's pause before its second attempt
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "code", "kind", "ours"),
    [
        (400, "AccessDeniedException", ManagerRefused, "manager_refused"),
        (400, "UnrecognizedClientException", ManagerRefused, "manager_refused"),
        (400, "ExpiredTokenException", ManagerRefused, "manager_refused"),
        (400, "ResourceNotFoundException", ManagerRefused, "manager_secret_missing"),
        (400, "DecryptionFailure", ManagerRefused, "manager_refused"),
        (400, "ThrottlingException", ManagerUnavailable, "manager_throttled"),
        (429, "Whatever", ManagerUnavailable, "manager_throttled"),
        (500, "InternalServiceError", ManagerUnavailable, "manager_unavailable"),
        (503, "ServiceUnavailable", ManagerUnavailable, "manager_unavailable"),
    ],
)
def test_each_refusal_is_one_of_our_errors(refusing, status, code, kind, ours):
    refusing.update(status=status, code=code)
    with pytest.raises(kind) as caught:
        Aws().ask("secretsmanager", read("google"), "read google")
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.evidence["sent"]) == (ours, False)
    assert "not repeated" not in caught.value.explain()
    assert refusing["asked"] <= 2


def test_no_credentials_say_so(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with pytest.raises(ManagerRefused, match="no AWS credentials"):
        Aws().ask("secretsmanager", read("google"), "read google")


def test_no_region_says_so():
    with pytest.raises(InvalidInput, match="no AWS region"):
        Aws().ask("secretsmanager", read("google"), "read google")


def test_a_profile_that_is_not_there_says_so():
    with pytest.raises(InvalidInput, match="profile"):
        Aws(Settings(profile="nobody")).ask("secretsmanager", read("google"), "read google")


def test_an_endpoint_that_is_not_there_is_weather(refusing):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ManagerUnavailable, match="could not be reached"):
        Aws(Settings(endpoint=address)).ask("secretsmanager", read("google"), "read google")


def test_plain_http_is_for_loopback_alone(refusing):
    with pytest.raises(InsecureUrl):
        Aws(Settings(endpoint="http://aws.test")).ask("secretsmanager", read("google"), "read google")


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InvalidInput) as caught:
        Aws().ask("secretsmanager", read("google"), "read google")
    assert caught.value.fix == to_add("aws")
