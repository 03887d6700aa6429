"""Section A of the attack cases: the form of a token, before any cryptography.

Every token here is signed with the right key unless the form forbids it, so only the form can be the reason.
"""

from __future__ import annotations

import base64
import json

import pytest

from valetkey.errors import TokenRefused
from valetkey.jose import verify

NOW = 1_790_000_000


def b64(data):
    data = data if isinstance(data, (bytes, str)) else json.dumps(data, separators=(",", ":"))
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(forge, header, payload):
    """Sign segments as they are given, already encoded or not."""
    message = f"{header}.{payload}"
    return f"{message}.{b64(forge.mac(message))}"


def flattened(f):
    header, payload, signature = f.hs256().split(".")
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


def polyglot(f):
    header, payload, signature = f.hs256().split(".")
    return f'{{"protected":"{header}.{payload}.{signature}","payload":"{payload}","signature":"{signature}"}}'


def respelled(f, part):
    """Set an unused bit in the last character of a segment whose length leaves some."""
    parts = f.hs256(f.payload(pad="x" * part)).split(".")
    for filler in range(4):
        parts = f.hs256(f.payload(pad="x" * filler), {"alg": "HS256", "pad": "x" * filler}).split(".")
        if len(parts[part]) % 4:
            break
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    parts[part] = parts[part][:-1] + alphabet[alphabet.index(parts[part][-1]) + 1]
    if part < 2:
        return signed(f, *parts[:2])
    return ".".join(parts)


def nested(depth):
    return '{"iss":"x","deep":' + "[" * depth + "]" * depth + "}"


DUPLICATE = (
    '{{"iss":"https://auth.example","sub":"ci","aud":"https://api.example","exp":{exp},"iat":{iat},{name}:{value}}}'
)


def twice(f, name, value, **raw):
    text = DUPLICATE.format(exp=NOW + 600, iat=NOW, name=name, value=value)
    return f.hs256(text, **raw)


A = [
    ("A01 empty", lambda f: "", "malformed_token"),
    ("A01 one segment", lambda f: "abc", "malformed_token"),
    ("A01 two segments", lambda f: f.hs256().rsplit(".", 1)[0], "malformed_token"),
    ("A02 four segments", lambda f: f.hs256() + ".x", "malformed_token"),
    ("A02 leading dot", lambda f: "." + f.hs256().split(".", 1)[1], "malformed_token"),
    ("A02 two dots", lambda f: "..", "malformed_token"),
    ("A03 a million dots", lambda f: "." * 1_000_000, "token_too_large"),
    ("A04 10 MB header", lambda f: b64("x" * 10_000_000) + ".e30.x", "token_too_large"),
    ("A04 a header over 4 KiB", lambda f: f.hs256(header={"alg": "HS256", "x": "x" * 4096}), "token_too_large"),
    ("A05 10 MB payload", lambda f: f.hs256(f.payload(x="x" * 10_000_000)), "token_too_large"),
    ("A06 10 MB signature", lambda f: f.hs256() + "A" * 10_000_000, "token_too_large"),
    ("A06 signature of 21830 characters", lambda f: f.hs256().rsplit(".", 1)[0] + "." + "A" * 21_830, "token_too_large"),
    ("A07 JSON serialisation", flattened, "not_compact"),
    ("A07 JSON array", lambda f: "[1]", "not_compact"),
    ("A08 polyglot with two dots", polyglot, "not_compact"),
    ("A08 polyglot after a blank", lambda f: " " + polyglot(f), "not_compact"),
    *[
        (f"A09 {name} {where}", lambda f, c=c, place=place: place(f, c), "malformed_base64url")
        for name, c in [("space", " "), ("tab", "\t"), ("newline", "\n"), ("CRLF", "\r\n"), ("NUL", "\0")]
        for where, place in [
            ("before", lambda f, c: c + f.hs256()),
            ("inside", lambda f, c: f.hs256()[:30] + c + f.hs256()[30:]),
            ("after the payload", lambda f, c: c.join([f.hs256().rsplit(".", 1)[0], "." + f.hs256().rsplit(".", 1)[1]])),
            ("after", lambda f, c: f.hs256() + c),
        ]
    ],
    ("A10 padded signature", lambda f: f.hs256() + "=", "malformed_base64url"),
    ("A10 padded header", lambda f: signed(f, b64({"alg": "HS256"}) + "=", b64(f.payload())), "malformed_base64url"),
    ("A11 surplus padding", lambda f: f.hs256() + "====", "malformed_base64url"),
    ("A12 other spelling of the header", lambda f: respelled(f, 0), "malformed_base64url"),
    ("A12 other spelling of the payload", lambda f: respelled(f, 1), "malformed_base64url"),
    ("A12 other spelling of the signature", lambda f: respelled(f, 2), "malformed_base64url"),
    ("A12 a segment of 4n+1 characters", lambda f: f.hs256() + "AA", "malformed_base64url"),
    *[
        (f"A13 {c!r} in the {('header', 'payload', 'signature')[part]}", lambda f, c=c, part=part: ".".join(
            text[:8] + c + text[9:] if i == part else text for i, text in enumerate(f.hs256().split("."))
        ), "malformed_base64url")
        for c in "+/?#é٣"
        for part in range(3)
    ],
    ("A13 non-ASCII after the signature", lambda f: f.hs256() + "é", "malformed_base64url"),
    ("A14 header is a list", lambda f: f.hs256(header=["HS256"]), "header_not_object"),
    ("A14 header is null", lambda f: f.hs256(header="null"), "header_not_object"),
    ("A14 header is a string", lambda f: f.hs256(header='"HS256"'), "header_not_object"),
    ("A15 payload is a list", lambda f: f.hs256([1]), "payload_not_object"),
    ("A15 payload is a string", lambda f: f.hs256('"text"'), "payload_not_object"),
    ("A15 payload is null", lambda f: f.hs256("null"), "payload_not_object"),
    ("A15 payload is empty", lambda f: f.hs256(""), "payload_not_object"),
    ("A16 deep payload, short enough to be read", lambda f: f.hs256(nested(6000)), "malformed_json"),
    ("A16 payload one level too deep", lambda f: f.hs256(nested(16)), "malformed_json"),
    ("A16 deep header", lambda f: f.hs256(header='{"alg":"HS256","x":' + "[" * 1500 + "]" * 1500 + "}"), "malformed_json"),
    ("A16 100,000 deep", lambda f: f.hs256(nested(100_000)), "token_too_large"),
    ("A16 never closed", lambda f: f.hs256("[" * 10_000), "malformed_json"),
    ("A17 alg twice", lambda f: f.hs256(header='{"alg":"none","alg":"HS256"}'), "duplicate_member"),
    ("A17 alg twice, once escaped", lambda f: f.hs256(header='{"alg":"none","\\u0061lg":"HS256"}'), "duplicate_member"),
    ("A18 aud twice", lambda f: twice(f, '"aud"', '"other"'), "duplicate_member"),
    ("A18 exp twice", lambda f: twice(f, '"exp"', NOW + 900), "duplicate_member"),
    ("A18 sub twice, with blanks", lambda f: twice(f, '"sub" ', ' "root"'), "duplicate_member"),
    ("A18 sub twice, once escaped", lambda f: twice(f, '"\\u0073ub"', '"root"'), "duplicate_member"),
    ("A18 twice inside an object", lambda f: twice(f, '"cnf"', '{"jkt":"a","jkt":"b"}'), "duplicate_member"),
    ("A18 twice, hidden by colons in text", lambda f: twice(f, '"sub"', '"a\\":b"'), "duplicate_member"),
    ("A19 UTF-16 payload", lambda f: f.hs256(json.dumps(f.payload()).encode("utf-16")), "malformed_json"),
    ("A19 UTF-16LE header", lambda f: f.hs256(header=json.dumps({"alg": "HS256"}).encode("utf-16-le")), "malformed_json"),
    ("A19 byte order mark", lambda f: f.hs256(b"\xef\xbb\xbf" + json.dumps(f.payload()).encode()), "malformed_json"),
    ("A20 invalid UTF-8", lambda f: f.hs256(json.dumps(f.payload(x="?")).encode().replace(b"?", b"\xff")), "malformed_json"),
    ("A20 a raw surrogate", lambda f: f.hs256(json.dumps(f.payload(x="?")).encode().replace(b"?", b"\xed\xa0\x80")), "malformed_json"),
    ("A21 a number of 5,000 digits", lambda f: f.hs256(json.dumps(f.payload(x=0)).replace('"x": 0', '"x": ' + "7" * 5000)), "malformed_json"),
    ("A21 the same in the header", lambda f: f.hs256(header='{"alg":"HS256","x":1' + "0" * 2900 + "5e99999}"), "malformed_json"),
    ("A22 an encrypted token", lambda f: "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..aXY.Y3Q.dGFn", "unexpected_jwe"),
    ("A22 with the shared secret", lambda f: ".".join([b64({"alg": "dir", "enc": "A256GCM"}), "", "aXY", "Y3Q", "dGFn"]), "unexpected_jwe"),
    ("A23 wrapping an unsigned token", lambda f: ".".join([b64({"alg": "dir", "enc": "A256GCM", "cty": "JWT"}), "", "aXY", b64("e30.e30."), "dGFn"]), "unexpected_jwe"),
    ("A24 zip in a signed token", lambda f: f.hs256(header={"alg": "HS256", "zip": "DEF"}), "header_forbidden"),
    ("A24 enc in a signed token", lambda f: f.hs256(header={"alg": "HS256", "enc": "A256GCM"}), "header_forbidden"),
    ("D04 NaN inside a list", lambda f: f.hs256('{"iss":"x","list":[NaN]}'), "malformed_json"),
    ("not JSON at all", lambda f: f.hs256(b"{"), "malformed_json"),
    ("not text", lambda f: None, "malformed_token"),
    ("a number", lambda f: 7, "malformed_token"),
]  # fmt: skip


@pytest.mark.parametrize("warm", [False, True], ids=["first", "known header"])
@pytest.mark.parametrize(("make", "reason"), [case[1:] for case in A], ids=[case[0] for case in A])
def test_a_token_of_wrong_form_is_refused_for_the_stated_reason(forge, make, reason, warm):
    keys, policy = forge.keyset(), forge.policy()
    if warm:
        verify(forge.hs256(), keys, policy, now=NOW)
    with pytest.raises(TokenRefused) as refusal:
        verify(make(forge), keys, policy, now=NOW)
    assert refusal.value.reason == reason
    assert refusal.value.fix


def padded(f):
    def pad(text):
        return text + "=" * (-len(text) % 4)

    message = f"{pad(b64({'alg': 'HS256'}))}.{pad(b64(f.payload()))}"
    return f"{message}.{pad(b64(f.mac(message)))}"


OPT_OUTS = [
    ("A10 padded signature", {"allow_padding": True}, lambda f: f.hs256() + "="),
    ("A10 every part padded", {"allow_padding": True}, padded),
    ("A10 no padding", {"allow_padding": True}, lambda f: f.hs256()),
    ("A05 a larger token", {"max_size": 200_000}, lambda f: f.hs256(f.payload(x="x" * 100_000))),
    ("A17 alg twice", {"allow_duplicate_members": True}, lambda f: f.hs256(header='{"alg":"none","alg":"HS256"}')),
    ("A18 sub twice", {"allow_duplicate_members": True}, lambda f: twice(f, '"sub"', '"ci"')),
    ("A24 zip", {"allow_jwe_headers": True}, lambda f: f.hs256(header={"alg": "HS256", "zip": "DEF"})),
]


@pytest.mark.parametrize(("setting", "make"), [case[1:] for case in OPT_OUTS], ids=[case[0] for case in OPT_OUTS])
def test_what_only_our_policy_refuses_can_be_allowed_by_name(forge, setting, make):
    token, keys = make(forge), forge.keyset()
    assert verify(token, keys, forge.policy(**setting), now=NOW).subject == "ci"
    # The relaxation of one policy is not remembered for another.
    if make(forge) != forge.hs256():
        with pytest.raises(TokenRefused):
            verify(token, keys, forge.policy(), now=NOW)


@pytest.mark.parametrize("ending", ["==", "===", "=a", "a="])
def test_only_correct_padding_is_allowed(forge, ending):
    with pytest.raises(TokenRefused) as refusal:
        verify(forge.hs256() + ending, forge.keyset(), forge.policy(allow_padding=True), now=NOW)
    assert refusal.value.reason == "malformed_base64url"


@pytest.mark.parametrize("fill", ["", "x", "xx"])
def test_a_genuine_payload_with_padding_stays_what_the_policy_says_of_it(forge, fill):
    keys, payload = forge.keyset(), b64(forge.payload(fill=fill))
    message = f"{b64({'alg': 'HS256'})}.{payload}{'=' * (-len(payload) % 4)}"
    token = f"{message}.{b64(forge.mac(message))}"
    lenient, strict = forge.policy(allow_padding=True, cache=False), forge.policy(cache=False)
    verify(forge.hs256(header={"alg": "HS256"}), keys, strict, now=NOW)  # now its header is known
    for _ in range(2):
        assert verify(token, keys, lenient, now=NOW)["fill"] == fill
        if "=" in token:
            with pytest.raises(TokenRefused) as refusal:
                verify(token, keys, strict, now=NOW)
            assert refusal.value.reason == "malformed_base64url"


def insertions(segment, characters):
    return [segment[:place] + characters + segment[place:] for place in (0, 1, 20, -1, len(segment))]


@pytest.mark.parametrize("known", [False, True], ids=["first", "known header"])
@pytest.mark.parametrize("character", ["!", "=", "\n", " ", "\0", "\x7f", "é"], ids=ascii)
@pytest.mark.parametrize("times", [1, 4])
def test_a_genuine_token_with_characters_too_many_is_refused(forge, character, times, known):
    keys, policy, characters = forge.keyset(), forge.policy(), character * times
    if known:
        verify(forge.hs256(), keys, policy, now=NOW)
    header, payload, signature = forge.hs256().split(".")
    messages = [f"{header}.{segment}" for segment in insertions(payload, characters)]
    tokens = [f"{message}.{b64(forge.mac(message))}" for message in messages]
    tokens += [f"{header}.{payload}.{segment}" for segment in insertions(signature, characters)]
    for token in tokens:
        with pytest.raises(TokenRefused) as refusal:
            verify(token, keys, policy, now=NOW)
        assert refusal.value.reason == "malformed_base64url"


@pytest.mark.parametrize("known", [False, True], ids=["first", "known header"])
@pytest.mark.parametrize(("ours", "other"), ["-+", "_/"])
def test_a_genuine_payload_in_the_other_alphabet_is_refused(forge, ours, other, known):
    keys, policy = forge.keyset(), forge.policy()
    if known:
        verify(forge.hs256(), keys, policy, now=NOW)
    header, payload, _ = forge.hs256(forge.payload(x="?>~" * 6 + "~?>" * 6 + ">~?" * 6)).split(".")
    assert ours in payload
    message = f"{header}.{payload.replace(ours, other)}"
    with pytest.raises(TokenRefused) as refusal:
        verify(f"{message}.{b64(forge.mac(message))}", keys, policy, now=NOW)
    assert refusal.value.reason == "malformed_base64url"


def test_deep_but_allowed_nesting_is_read(forge):
    claims = verify(forge.hs256(forge.payload(x=[[[[1]]]])), forge.keyset(), forge.policy(), now=NOW)
    assert claims["x"] == ((((1,),),),)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "ci", "url": "https://x:8443/a:b"},
        {"sub": "ci", "text": 'quoted ":" and \\ backslash'},
        {"sub": "ci", "empty": "", "colon": ":", "more": '":'},
        {"sub": "ci", "list": [{"a": 1}, {"a": 1}], "map": {"a": {"a": {"a": 1}}}},
        {"sub": "ci", "list": [], "map": {}},
        {"sub": "ci", "text": "äöü €  日本"},
    ],
)
def test_colons_quotes_and_braces_in_values_are_not_taken_for_duplicates(forge, claims):
    for spacing in ((",", ":"), (", ", ": "), (" ,\n", "\t: ")):
        text = json.dumps(forge.payload(**claims), separators=spacing)
        for _ in range(2):
            found = verify(forge.hs256(text), forge.keyset(), forge.policy(), now=NOW)
            assert found.to_dict() == forge.payload(**claims)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":"x,y","a":2}',
        '{"a":[1,2],"a":2}',
        '{"a":2,"a":[1,2]}',
        '{"a":",","b":1,"a":""}',
        '{"\\u0061":1,"a":",,"}',
        '{"a":1,"b":[],"a":1}',
    ],
)
def test_commas_in_values_hide_no_member_named_twice(forge, text):
    payload = json.dumps(forge.payload(), separators=(",", ":"))[:-1] + "," + text[1:]
    for _ in range(2):
        with pytest.raises(TokenRefused) as refusal:
            verify(forge.hs256(payload), forge.keyset(), forge.policy(), now=NOW)
        assert refusal.value.reason == "duplicate_member"


def test_what_the_short_way_takes_is_what_the_long_way_makes_of_it(monkeypatch):
    from valetkey.jose import objects

    parse = objects.parse

    texts = {
        '{"a":1,"b":"c d","e":null,"f":true,"g":1.5}': True,
        '{ "a" : 1 ,\n "b" : "" }': True,
        '{"a":"Doe, John","aud":["x","y"]}': True,
        '{"a": "Doe, John", "b": 1}': False,
        '{"a":{"b":1}}': False,
        '{"a":[["b"]]}': False,
        "{}": True,
    }
    for text, simple in texts.items():
        raw = text.encode()
        looked = []
        monkeypatch.setattr(objects, "parse", lambda *what, looked=looked: looked.append(what) or parse(*what))
        looked_through = parse(raw, "payload")
        try:
            found = objects.usual(objects.load_usual(raw), raw, "payload")
        except objects.NOT_USUAL:
            found = objects.parse(raw, "payload")
        assert (not looked) is simple, text
        assert found == looked_through
        assert [type(value) for value in found.values()] == [type(value) for value in looked_through.values()]


def test_a_forged_payload_is_not_looked_through(forge, monkeypatch):
    # Looking for members named twice is work in Python; only a genuine token is worth it.
    from valetkey.jose import objects

    keys, policy = forge.keyset(), forge.policy()
    verify(forge.hs256(), keys, policy, now=NOW)
    looked = []
    monkeypatch.setattr(objects, "_freeze", lambda *what: looked.append(what))
    monkeypatch.setattr(objects, "_count_members", lambda *what: looked.append(what))
    for payload in (
        {f"m{number}": number for number in range(9)},
        '{"a":1,"a":2}',
        '{"a":' + "[" * 40 + "]" * 40 + "}",
    ):
        for header in ({"alg": "HS256"}, {"alg": "HS256", "typ": "JWT"}):
            with pytest.raises(TokenRefused) as refusal:
                verify(forge.hs256(payload, header, secret=b"f" * 64), keys, policy, now=NOW)
            assert refusal.value.reason == "bad_signature"
    assert not looked
