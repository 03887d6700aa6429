"""The client's half of OAuth2, pure: ask a request, read an answer. One file per topic.

    client.py          who asks: Stamp, Client, and the one place where a token request is put together
    authentication.py  how a client proves itself (RFC 6749 section 2.3, RFC 7523)
    pkce.py            RFC 7636
    authorize.py       the authorization request and what comes back by redirect (RFC 6749 section 4.1, RFC 9207)
    token.py           code, client credentials, refresh (RFC 6749 sections 4.1.3, 4.4, 6)
    device.py          RFC 8628
    assertion.py       RFC 7523 as a grant
    exchange.py        RFC 8693
    revocation.py      RFC 7009
    introspection.py   RFC 7662
    discovery.py       RFC 8414 and OpenID Connect Discovery; places.py says which hosts a document may name
    reading.py         token answers; body.py reads any answer's members, refusal.py turns a "no" into an error,
                       plain.py holds the small readers of outside text and numbers

Somebody else sends: nothing here knows a clock, a random number, a socket or a file.
"""
