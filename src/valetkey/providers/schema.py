"""What can be said of a provider: data only, no secret, no behaviour.

A catalogue file is one `Provider`. `oauth/` reads `endpoints`, `asking` and `answer`; `vault/` reads `refresh`;
`inject/` reads `api`. Unknown members are refused, so that a slip of the pen in a file is found by its test.
Texts with {braces} are templates, filled by the parameters an app gives ({tenant}, {host}).
"""

from __future__ import annotations

from typing import Literal

import msgspec

TokenAuth = Literal[
    "none", "client_secret_basic", "client_secret_post", "client_secret_json", "client_secret_jwt", "private_key_jwt"
]
"""How a client proves itself at the token endpoint; RFC 8414 names, and `client_secret_json` for a JSON body."""

GrantName = Literal["authorization_code", "client_credentials", "device_code", "jwt_bearer", "token_exchange"]


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Be the URLs of one authorization server (names of RFC 8414); an empty text means: has none."""

    token: str = ""
    authorize: str = ""
    issuer: str = ""
    refresh: str = ""  # where it is not the token endpoint (Figma)
    device: str = ""
    revoke: str = ""
    introspect: str = ""
    jwks: str = ""


class Asking(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say how requests to this provider are written."""

    token_auth: TokenAuth = "client_secret_basic"  # RFC 6749 section 2.3.1: must be supported by every server
    body: Literal["form", "json"] = "form"  # json: the whole token request is one JSON object (Notion, Auth0)
    pkce: Literal["S256", "off"] = "S256"  # off only where a provider is known to refuse it
    scope_separator: str = " "
    scope_param: str = "scope"
    authorize_params: dict[str, str] = {}  # always sent with the authorization request (access_type=offline)
    device_params: dict[str, str] = {}  # always sent when a device code is asked for (Auth0: audience)
    token_params: dict[str, str] = {}  # always sent when a code is redeemed
    refresh_params: dict[str, str] = {}
    client_credentials_params: dict[str, str] = {}
    client_credentials_grant: str = "client_credentials"  # Zoom: account_credentials
    jwt_bearer_audience: str = ""  # `aud` of an RFC 7523 assertion; empty: the token endpoint
    headers: dict[str, str] = {}  # sent with every token request
    sends_iss: bool = False  # RFC 9207: its authorization answers carry `iss`, so one without is refused
    scope_on_refresh: bool = False  # whether a refresh names the scopes again
    revoke_auth: Literal["client", "none", "bearer"] = "client"
    revoke_param: str = "token"
    target: Literal["resource", "default_scope"] = "resource"  # one of several APIs: RFC 8707, or scope {it}/.default
    public_only: bool = False  # ask no address inside: loopback, private, link-local (set for discovered providers)
    revokes: Literal["either", "access", "refresh"] = "either"  # which token `endpoints.revoke` takes


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say how token answers are to be read.

    Paths are dotted (`authed_user.access_token`); of several, parted by `|`, the first that is there counts.
    """

    access_token: str = "access_token"
    refresh_token: str = "refresh_token"
    expires_in: str = "expires_in"
    expires_unit: Literal["s", "ms"] = "s"
    scope: str = "scope"
    token_type: str = "token_type"
    scope_separator: str = ""  # where the answer separates otherwise than the request (GitHub: comma)
    zero_means: Literal["expired", "never"] = "never"  # expires_in: 0 (Mailchimp: never)
    default_expires_in: int = 0  # seconds, where the provider does not say; 0: unknown
    refresh_expires_in: str = "refresh_token_expires_in"
    error: str = "error"
    error_description: str = "error_description"
    parts: dict[str, str] = {}  # other tokens in the same answer: name -> path of their object (Slack: user)
    ok: str = ""  # a member that is false when the answer is an error in HTTP 200 (Slack: ok)
    keep: list[str] = []  # members of the answer or the callback worth keeping (instance_url, team.id, realmId)
    errors: dict[str, str] = {}  # the provider's words for RFC 6749's codes (Slack: invalid_refresh_token)


class Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say how refresh tokens behave. What answers teach goes before what stands here."""

    rotates: Literal["always", "never", "sometimes", "unknown"] = "unknown"
    old_token: Literal["dies", "grace", "until_new_is_used", "stays", "unknown"] = "unknown"
    grace_seconds: int = 0
    reuse: Literal["harmless", "refused", "revokes_family", "unknown"] = "unknown"
    idle_days: int = 0  # dies when unused so long; 0: not known to
    absolute_days: int = 0  # dies so long after consent, whatever is done; 0: not known to
    testing_days: int = 0  # dies so long after consent while the app is in testing at the provider; 0: not known to
    margin_seconds: int = 0  # refresh so long before expiry; 0: by the rule in vault/
    per_second: float = 0.0  # most refreshes a second that its token endpoint takes; 0: by the rule in vault/
    available: bool = True  # false: the provider gives no refresh tokens at all


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say where tokens of this provider may be sent, and how."""

    hosts: list[str] = []  # api.example.com, *.example.com (any depth of subdomain), host:port
    hosts_from: list[str] = []  # kept members that name a host or URL (Salesforce: instance_url)
    scheme: str = "Bearer"  # the word in the Authorization header (Zoho: Zoho-oauthtoken)
    headers: dict[str, str] = {}  # sent along (Notion-Version)
    whoami: str = ""  # a harmless GET that shows the token works


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Be a parameter that fills {braces} of the templates; `default` empty means it must be given."""

    about: str
    default: str = ""
    pattern: str = "[A-Za-z0-9._-]+"  # what a value must match as a whole: classes, repeats and | only, no groups


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say where facts come from and when they were read. `sure` is how much to trust them."""

    where: str
    date: str  # ISO date on which it was read
    facts: list[str]  # dotted paths into this file (refresh.rotates), or a prefix of them (endpoints)
    sure: Literal["documented", "observed", "reported", "inferred"] = "documented"


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Be one provider: how one authorization server behaves."""

    key: str
    name: str
    endpoints: Endpoints = Endpoints()
    grants: list[GrantName] = msgspec.field(default_factory=lambda: ["authorization_code"])
    asking: Asking = Asking()
    answer: Answer = Answer()
    refresh: Refresh = Refresh()
    api: Api = Api()
    parameters: dict[str, Parameter] = {}
    scopes: list[str] = []  # asked of a person when an app names none
    client_credentials_scopes: list[str] = []  # asked for without a person, when an app names none (Entra: .default)
    offline_scopes: list[str] = []  # without these there is no refresh token; added to what is asked of a person
    docs: str = ""  # the provider's own page
    console: str = ""  # where an app is registered
    notes: list[str] = []  # what a person should know, one sentence each
    sources: list[Source] = []


# msgspec lays a Struct out when it is first decoded, and two threads that do so at once end the process with a
# segmentation fault (seen in the refresh race, with msgspec 0.21). An import is done by one thread alone, so: here.
msgspec.json.Decoder(Provider)
