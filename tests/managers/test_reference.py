"""References to secrets: what is one, what it names, and that what is none is not repeated."""

from __future__ import annotations

import pytest

from valetkey.errors import InvalidInput
from valetkey.managers.reference import Reference

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/google-AbCdEf"


@pytest.mark.parametrize(
    ("text", "kind", "name", "field"),
    [
        ("vault:kv/google#client_secret", "vault", "kv/google", "client_secret"),
        ("vault:team/kv/apps/google#client-secret", "vault", "team/kv/apps/google", "client-secret"),
        ("aws-sm:google", "aws-sm", "google", ""),
        ("aws-sm:prod/google#client_secret", "aws-sm", "prod/google", "client_secret"),
        (f"aws-sm:{ARN}#secret", "aws-sm", ARN, "secret"),
        ("file:/run/secrets/google", "file", "/run/secrets/google", ""),
        ("file:/run/secrets/with#hash", "file", "/run/secrets/with#hash", ""),
        ("env:GOOGLE_CLIENT_SECRET", "env", "GOOGLE_CLIENT_SECRET", ""),
    ],
)
def test_a_reference_names_a_manager_a_place_and_a_field(text, kind, name, field):
    reference = Reference.parse(text)
    assert (reference.kind, reference.name, reference.field) == (kind, name, field)
    assert str(reference) == text


def test_an_arn_names_its_region():
    assert Reference.parse(f"aws-sm:{ARN}").region == "eu-west-1"
    assert Reference.parse("aws-sm:google").region == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "google",
        "vault",
        "vault:",
        "vault:google#secret",  # no mount
        "vault:kv/google",  # no field
        "vault:kv/google#",
        "vault:/kv/google#secret",
        "vault:kv/../sys/seal#secret",
        "vault:kv//google#secret",
        "vault:kv/google?version=1#secret",
        "vault:kv/google%2f..#secret",
        "aws-sm:",
        "aws-sm:#field",
        "aws-sm:a b",
        "aws-sm:arn:aws:s3:::bucket",
        "file:relative/path",
        "file:~/secret",
        "env:",
        "env:1ST",
        "env:A-B",
        "ssm:name",
        "vault:kv/google#a\nb",
        "vault:kv/" + "a" * 3000 + "#secret",
    ],
)
def test_what_is_no_reference_is_refused_with_examples(text):
    with pytest.raises(InvalidInput) as caught:
        Reference.parse(text)
    assert "vault:MOUNT/PATH#FIELD" in caught.value.fix


@pytest.mark.parametrize("before", ["", "vault:", "aws-sm: ", "file:", "env:-", "vault:kv/google#secret\n"])
def test_a_secret_given_in_place_of_a_reference_is_not_repeated(canary, before):
    with pytest.raises(InvalidInput) as caught:
        Reference.parse(before + canary.make())
    canary.assert_absent(caught.value.explain(), repr(caught.value), str(caught.value.to_dict()))
