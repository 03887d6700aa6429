// npm oidc-provider as the authorization server our client is judged by. It listens on 127.0.0.1 only, is told
// everything by the environment, and prints one line of JSON when it is ready: {"issuer": "http://127.0.0.1:<port>"}.
//
//   PORT               0 or unset: any free port
//   ACCESS_TOKEN_TTL   seconds an access token lives (60)
//   SECRETS_FILE       a JSON object: of which clients which secrets are taken from now on, instead of their own; read
//                      at every login, so that a test can add a secret and end one, as providers' consoles do
//   CLIENTS_FILE       a JSON array of further clients (RFC 7591 names), such as those that hold their own keys
//
// A refresh token that is used twice costs the whole grant; that is oidc-provider's own behaviour, not set here.
// An access token is opaque, or an RFC 9068 JWT where the request names a `resource` (ES256 if "es256" is in it).
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';
const API_SCOPES = 'api:read api:write';
const USER_SCOPES = `openid offline_access ${API_SCOPES}`;
const lifetime = Number(process.env.ACCESS_TOKEN_TTL || 60);

// A native client may use any port on loopback (RFC 8252 section 7.3); the path must be one of these.
const redirects = ['/callback', '/cb', '/oauth/callback'].flatMap(
  (path) => [`http://127.0.0.1${path}`, `http://[::1]${path}`],
);

function person(id, method, more = {}) {
  return {
    client_id: id,
    ...(method === 'none' ? {} : { client_secret: `${id}-secret` }),
    token_endpoint_auth_method: method,
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: redirects,
    scope: USER_SCOPES,
    ...more,
  };
}

function machine(id, method, more = {}) {
  return {
    client_id: id,
    client_secret: `${id}-secret`,
    token_endpoint_auth_method: method,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    scope: API_SCOPES,
    ...more,
  };
}

const clients = [
  person('web', 'client_secret_basic'),
  person('web-post', 'client_secret_post'),
  person('web-static', 'client_secret_basic'), // its refresh tokens are not rotated
  person('web-changing', 'client_secret_basic'), // its secrets are changed by a test
  // Its one redirect URI must match to the letter, port included.
  person('web-exact', 'client_secret_basic', { application_type: 'web', redirect_uris: ['http://127.0.0.1:5999/cb'] }),
  person('cli', 'none', { grant_types: ['authorization_code', 'refresh_token', DEVICE_CODE] }),
  machine('m2m', 'client_secret_basic'),
  machine('m2m-post', 'client_secret_post'),
  // Characters that must be form-encoded before they are base64-encoded (RFC 6749 section 2.3.1).
  machine('m2m odd:id', 'client_secret_basic', { client_secret: 'per%cent + plus/colon:&=' }),
  ...(process.env.CLIENTS_FILE ? JSON.parse(readFileSync(process.env.CLIENTS_FILE, 'utf8')) : []),
];

function signingKeys() {
  const make = (kind, options, more) => ({ ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), ...more });
  return {
    keys: [
      make('rsa', { modulusLength: 2048 }, { kid: 'rsa-1', use: 'sig', alg: 'RS256' }),
      make('ec', { namedCurve: 'P-256' }, { kid: 'ec-1', use: 'sig', alg: 'ES256' }),
    ],
  };
}

const configuration = {
  clients,
  jwks: signingKeys(),
  scopes: ['openid', 'offline_access', ...API_SCOPES.split(' ')],
  pkce: { required: () => true },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt'],
  issueRefreshToken: async (ctx, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  rotateRefreshToken: (ctx) => ctx.oidc.client.clientId !== 'web-static',
  findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id, email: `${id}@example.test` }) }),
  ttl: {
    AccessToken: lifetime,
    ClientCredentials: lifetime,
    AuthorizationCode: 60,
    DeviceCode: 300,
    Grant: 3600,
    IdToken: 60,
    Interaction: 600,
    RefreshToken: 3600,
    Session: 3600,
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    pushedAuthorizationRequests: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client, oneOf) => oneOf,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        accessTokenFormat: 'jwt',
        accessTokenTTL: lifetime,
        audience: resource,
        jwt: { sign: { alg: resource.includes('es256') ? 'ES256' : 'RS256' } },
        scope: API_SCOPES,
      }),
    },
    revocation: { enabled: true, allowedPolicy: () => true },
  },
};

// The issuer holds the port, so the port must be known before the provider is made.
const server = createServer();
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  const own = provider.Client.prototype.compareClientSecret;
  provider.Client.prototype.compareClientSecret = function (given) {
    const told = process.env.SECRETS_FILE ? JSON.parse(readFileSync(process.env.SECRETS_FILE, 'utf8')) : {};
    return told[this.clientId] ? told[this.clientId].includes(given) : own.call(this, given);
  };
  provider.on('server_error', (ctx, error) => console.error('server_error', error));
  provider.on('grant.success', (ctx) => console.error('grant.success', ctx.oidc.params.grant_type, ctx.oidc.client.clientId));
  provider.on('grant.error', (ctx, error) => console.error('grant.error', error.error, error.error_detail || ''));
  server.on('request', provider.callback());
  console.log(JSON.stringify({ issuer }));
});

// The tests hold our standard input open. When they are gone, however that came about, so are we.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
