"""What the ten providers' own documentation says, written down by hand a second time.

A slip of the pen in a catalogue file is found here, because nobody makes the same slip twice. Defaults stand here
too where a provider depends on them.
"""

from __future__ import annotations

import pytest

from valetkey.providers import filled, load
from valetkey.providers.facts import leaves

PARAMS = {
    "microsoft": {"tenant": "contoso.onmicrosoft.com"},
    "salesforce": {"host": "acme.my.salesforce.com"},
    "auth0": {"domain": "acme.eu.auth0.com", "audience": "https://api.acme.test/"},
    "zoom-s2s": {"account_id": "AbC_1-2"},
}

EXPECTED = {
    "google": {
        "grants": ["authorization_code", "device_code", "jwt_bearer"],
        "endpoints.authorize": "https://accounts.google.com/o/oauth2/v2/auth",
        "endpoints.token": "https://oauth2.googleapis.com/token",
        "endpoints.device": "https://oauth2.googleapis.com/device/code",
        "endpoints.revoke": "https://oauth2.googleapis.com/revoke",
        "endpoints.jwks": "https://www.googleapis.com/oauth2/v3/certs",
        "asking.token_auth": "client_secret_post",
        "asking.pkce": "S256",
        "asking.scope_separator": " ",
        "asking.authorize_params.access_type": "offline",
        "asking.authorize_params.prompt": "consent",
        "refresh.rotates": "never",
        "refresh.old_token": "stays",
        "refresh.idle_days": 180,
        "refresh.absolute_days": 0,
        "offline_scopes": [],
        "api.hosts": ["*.googleapis.com"],
    },
    "microsoft": {
        "grants": ["authorization_code", "client_credentials", "device_code"],
        "endpoints.authorize": "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/authorize",
        "endpoints.token": "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
        "endpoints.device": "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/devicecode",
        "endpoints.revoke": "",
        "asking.token_auth": "client_secret_post",
        "asking.pkce": "S256",
        "answer.errors.interaction_required": "invalid_grant",
        "client_credentials_scopes": ["https://graph.microsoft.com/.default"],
        "offline_scopes": ["offline_access"],
        "refresh.rotates": "always",
        "refresh.old_token": "stays",
        "refresh.reuse": "harmless",
        "refresh.idle_days": 90,
        "api.hosts": ["graph.microsoft.com"],
    },
    "salesforce": {
        "grants": ["authorization_code", "jwt_bearer"],
        "endpoints.authorize": "https://acme.my.salesforce.com/services/oauth2/authorize",
        "endpoints.token": "https://acme.my.salesforce.com/services/oauth2/token",
        "endpoints.revoke": "https://acme.my.salesforce.com/services/oauth2/revoke",
        "endpoints.introspect": "https://acme.my.salesforce.com/services/oauth2/introspect",
        "asking.token_auth": "client_secret_post",
        "asking.pkce": "S256",
        "asking.jwt_bearer_audience": "https://login.salesforce.com",
        "asking.revoke_auth": "none",
        "answer.keep": ["instance_url", "id"],
        "answer.default_expires_in": 0,
        "offline_scopes": ["refresh_token"],
        "refresh.rotates": "sometimes",
        "refresh.old_token": "dies",
        "refresh.reuse": "revokes_family",
        "api.hosts": ["acme.my.salesforce.com"],
        "api.hosts_from": ["instance_url"],
    },
    "hubspot": {
        "grants": ["authorization_code"],
        "endpoints.authorize": "https://app.hubspot.com/oauth/authorize",
        "endpoints.token": "https://api.hubapi.com/oauth/2026-03/token",
        "endpoints.introspect": "https://api.hubapi.com/oauth/2026-03/token/introspect",
        "asking.token_auth": "client_secret_post",
        "asking.body": "form",
        "answer.keep": ["hub_id"],
        "refresh.rotates": "never",
        "offline_scopes": [],
        "api.hosts": ["api.hubapi.com"],
    },
    "slack": {
        "grants": ["authorization_code"],
        "endpoints.authorize": "https://slack.com/oauth/v2/authorize",
        "endpoints.token": "https://slack.com/api/oauth.v2.access",
        "endpoints.revoke": "https://slack.com/api/auth.revoke",
        "asking.token_auth": "client_secret_basic",
        "asking.pkce": "off",
        "asking.scope_separator": ",",
        "asking.scope_param": "scope",
        "asking.revoke_auth": "bearer",
        "asking.revokes": "access",
        "answer.access_token": "access_token|authed_user.access_token",
        "answer.refresh_token": "refresh_token|authed_user.refresh_token",
        "answer.scope_separator": ",",
        "answer.ok": "ok",
        "answer.errors.bad_client_secret": "invalid_client",
        "answer.errors.invalid_client_id": "invalid_client",
        "answer.errors.invalid_code": "invalid_grant",
        "answer.errors.invalid_refresh_token": "invalid_grant",
        "refresh.rotates": "always",
        "refresh.old_token": "dies",
        "refresh.available": True,
        "api.hosts": ["slack.com", "files.slack.com"],
    },
    "github": {
        "grants": ["authorization_code", "device_code"],
        "endpoints.authorize": "https://github.com/login/oauth/authorize",
        "endpoints.token": "https://github.com/login/oauth/access_token",
        "endpoints.device": "https://github.com/login/device/code",
        "endpoints.revoke": "",
        "asking.token_auth": "client_secret_post",
        "asking.pkce": "S256",
        "asking.scope_separator": " ",
        "asking.headers.Accept": "application/json",
        "answer.scope_separator": ",",
        "answer.refresh_expires_in": "refresh_token_expires_in",
        "answer.errors.bad_verification_code": "invalid_grant",
        "answer.errors.incorrect_client_credentials": "invalid_client",
        "refresh.rotates": "always",
        "refresh.old_token": "dies",
        "refresh.idle_days": 180,
        "api.hosts": ["api.github.com", "uploads.github.com"],
    },
    "notion": {
        "grants": ["authorization_code"],
        "endpoints.authorize": "https://api.notion.com/v1/oauth/authorize",
        "endpoints.token": "https://api.notion.com/v1/oauth/token",
        "endpoints.revoke": "https://api.notion.com/v1/oauth/revoke",
        "endpoints.introspect": "https://api.notion.com/v1/oauth/introspect",
        "asking.token_auth": "client_secret_basic",
        "asking.body": "json",
        "asking.authorize_params.owner": "user",
        "asking.headers.Notion-Version": "2025-09-03",
        "api.headers.Notion-Version": "2025-09-03",
        "refresh.rotates": "always",
        "scopes": [],
        "api.hosts": ["api.notion.com"],
    },
    "atlassian": {
        "grants": ["authorization_code"],
        "endpoints.authorize": "https://auth.atlassian.com/authorize",
        "endpoints.token": "https://auth.atlassian.com/oauth/token",
        "asking.token_auth": "client_secret_json",
        "asking.body": "json",
        "asking.authorize_params.audience": "api.atlassian.com",
        "asking.authorize_params.prompt": "consent",
        "offline_scopes": ["offline_access"],
        "refresh.rotates": "always",
        "refresh.old_token": "grace",
        "refresh.grace_seconds": 10 * 60,
        "refresh.idle_days": 90,
        "refresh.absolute_days": 365,
        "api.hosts": ["api.atlassian.com"],
    },
    "zoom": {
        "grants": ["authorization_code", "device_code"],
        "endpoints.authorize": "https://zoom.us/oauth/authorize",
        "endpoints.token": "https://zoom.us/oauth/token",
        "endpoints.revoke": "https://zoom.us/oauth/revoke",
        "asking.token_auth": "client_secret_basic",
        "asking.body": "form",
        "refresh.rotates": "always",
        "refresh.old_token": "dies",
        "refresh.reuse": "refused",
        "refresh.idle_days": 90,
        "api.hosts": ["api.zoom.us"],
    },
    "zoom-s2s": {
        "grants": ["client_credentials"],
        "endpoints.authorize": "",
        "endpoints.token": "https://zoom.us/oauth/token",
        "asking.token_auth": "client_secret_basic",
        "asking.client_credentials_grant": "account_credentials",
        "asking.client_credentials_params.account_id": "AbC_1-2",
        "refresh.available": False,
    },
    "auth0": {
        "grants": ["authorization_code", "client_credentials", "device_code"],
        "endpoints.issuer": "https://acme.eu.auth0.com/",
        "endpoints.authorize": "https://acme.eu.auth0.com/authorize",
        "endpoints.token": "https://acme.eu.auth0.com/oauth/token",
        "endpoints.revoke": "https://acme.eu.auth0.com/oauth/revoke",
        "asking.token_auth": "client_secret_json",
        "asking.body": "json",
        "asking.revokes": "refresh",
        "asking.authorize_params.audience": "https://api.acme.test/",
        "asking.client_credentials_params.audience": "https://api.acme.test/",
        "asking.device_params.audience": "https://api.acme.test/",
        "client_credentials_scopes": [],
        "offline_scopes": ["offline_access"],
        "refresh.rotates": "sometimes",
        "refresh.reuse": "revokes_family",
        "api.hosts": ["acme.eu.auth0.com"],
    },
}


@pytest.mark.parametrize(("key", "path"), [(key, path) for key, table in EXPECTED.items() for path in table])
def test_the_file_says_what_the_documentation_says(key, path):
    said = leaves(filled(load(key), PARAMS.get(key, {})), defaults=True)
    assert said[path] == EXPECTED[key][path]


def test_a_slack_app_can_ask_for_the_token_of_a_person():
    assert filled(load("slack"), {"scopes_in": "user_scope"}).asking.scope_param == "user_scope"


def test_a_salesforce_sandbox_has_its_own_hosts():
    provider = filled(load("salesforce"), {"host": "test.salesforce.com", "login": "test.salesforce.com"})
    assert provider.endpoints.token == "https://test.salesforce.com/services/oauth2/token"
    assert provider.asking.jwt_bearer_audience == "https://test.salesforce.com"


def test_entra_asks_whoever_signs_in_unless_a_tenant_is_given():
    assert filled(load("microsoft"), {}).endpoints.token == "https://login.microsoftonline.com/common/oauth2/v2.0/token"


def test_generic_assumes_nothing_but_the_rfc():
    said = leaves(load("generic"))
    assert {path for path in said if not path.startswith("notes.")} == {"grants"}
