"""What libraries of secret managers log at DEBUG holds no secret: real questions, every logger turned up.

`loud` leads also into the log what Python's http.client prints of whole requests.
"""

from __future__ import annotations

import json

import boto3
import pytest

from valetkey.managers.aws import Aws
from valetkey.managers.hashicorp import HashiCorp, Settings
from valetkey.managers.reference import Reference
from valetkey.managers.resolver import Resolver
from valetkey.values import Secret

pytestmark = pytest.mark.network


@pytest.fixture
def credentials(aws_endpoint, canary, monkeypatch):
    """Give credentials of AWS that are canaries; moto looks at no signature."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canary.make("secret access key"))
    monkeypatch.setenv("AWS_SESSION_TOKEN", canary.make("session token"))


def said(loud, *words):
    """See that each was logged at all: where nothing is said, nothing is proved."""
    for word in words:
        assert word in loud.text


def test_no_log_of_secrets_manager_holds_a_secret(loud, credentials, canary):
    resolver, target = Resolver(), Reference.target("aws-sm:google")
    secret, token = canary.make("client secret"), canary.make("access token")
    fields = {"client_secret": secret, "access_token": token}
    resolver.write(target, fields, json.dumps(fields))
    resolver.write(target, fields, json.dumps(fields))
    assert resolver.resolve("aws-sm:google#client_secret").secret == Secret(secret)
    resolver.close()
    said(loud, "X-Amz-Security-Token", "secretsmanager.GetSecretValue")
    canary.assert_absent(loud.text)


def test_a_programs_own_use_of_boto_is_masked_too_once_we_have_asked(loud, credentials, canary):
    secret = canary.make("client secret")
    ours = Aws()
    ours.ask("secretsmanager", lambda c: c.create_secret(Name="google", SecretString=secret), "make google")
    ours.close()
    client = boto3.client("secretsmanager")
    assert client.get_secret_value(SecretId="google")["SecretString"] == secret
    client.close()
    said(loud, "Response body", "Calculating signature")
    canary.assert_absent(loud.text)


def test_no_log_of_the_key_service_holds_a_key(loud, credentials, canary):
    key = canary.make("data key")
    aws = Aws()
    arn = aws.ask("kms", lambda c: c.create_key()["KeyMetadata"]["Arn"], "make a key")
    blob = aws.ask("kms", lambda c: c.encrypt(KeyId=arn, Plaintext=key.encode())["CiphertextBlob"], "seal")
    assert aws.ask("kms", lambda c: c.decrypt(CiphertextBlob=blob)["Plaintext"], "open") == key.encode()
    aws.close()
    said(loud, "X-Amz-Security-Token", "TrentService.Decrypt")
    canary.assert_absent(loud.text)


@pytest.mark.parametrize("method", ["token", "approle", "kubernetes"])
def test_no_log_of_a_hashicorp_vault_holds_a_token_or_a_secret(loud, vault_server, canary, method):
    vault_server.policy("writer", {"secret/data/*": {"create", "update", "read"}})
    role, proof = vault_server.logins["approle/"].role("writer")
    if method == "kubernetes":
        role, proof = "writer", canary.make("token of a service account")
        vault_server.logins["kubernetes/"].role(role, proof, "writer")
    if method == "token":
        role, proof = "", vault_server.token("writer", ttl=600.0).value
    canary.watch(f"what proves us by {method}", proof)
    settings = Settings(vault_server.address, method=method, role=role, credential=Secret(proof))
    resolver, target = Resolver(hashicorp=lambda: HashiCorp(settings)), Reference.target("vault:secret/google")
    secret, token = canary.make("client secret"), canary.make("access token")
    resolver.write(target, {"client_secret": secret, "access_token": token}, "")
    assert resolver.resolve("vault:secret/google#client_secret").secret == Secret(secret)
    for given in vault_server.tokens:
        canary.watch("a token of the Vault", given)
    resolver.close()
    said(loud, "/v1/secret/data/google", "X-Vault-Token")
    canary.assert_absent(loud.text)
