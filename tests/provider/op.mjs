// A certified OpenID provider (npm's oidc-provider) for the tests, with hooks to make it misbehave.
//
//     FOREPOST_TEST_TOOLS=… node op.mjs CONFIG
//
// CONFIG is JSON:
//     port       where to listen on 127.0.0.1; 0 (the default) takes a free one
//     host       host name of the issuer; by default idp.localhost. Cookies ignore ports, so it must differ from
//                the host of every application
//     issuer     the whole issuer; by default http://HOST:PORT
//     clients    registrations in the words of OpenID Dynamic Client Registration:
//                client_id, client_secret, redirect_uris, post_logout_redirect_uris,
//                token_endpoint_auth_method, id_token_signed_response_alg, backchannel_logout_uri, …
//     lifetime   seconds that access and ID tokens live; by default 3600
//     slim       name, email and groups are only at userinfo, not in ID tokens
//     pushed     every authorization request must be pushed first (RFC 9126), and the metadata says so
//     resources  audiences of tokens, with their format: {"https://app.example.com/": "jwt"} (RFC 8707); clients may
//                then get tokens for themselves, too
//     bound      refresh tokens also without offline_access; those end with the session
//
// When it can be asked, it prints one line of JSON: {"port", "issuer"}. It ends when its stdin is closed.
//
// Users are alice (groups admins and staff) and bob (staff); any password will do. A login is two forms, POSTed to the
// address that each page names: prompt=login&login=alice&password=x, then prompt=consent.
//
// Hooks, each a GET:
//     /_test/rotate        new signing keys; the old ones are gone
//     /_test/rotate?keep   new signing keys; the old ones stay published
//     /_test/down          503 for everything but the hooks
//     /_test/up            ends that
//     /_test/stats         requests so far, as {"GET /jwks": 2, …}
//     /_test/client?CHANGES
//                          changes the first client's registration; JSON, such as {"backchannel_logout_uri": "http://…"}
//     /_test/end-sessions?USER
//                          ends a user's sessions as a sign-out does, back-channel logout included; tells which it ended,
//                          as [{"sid", "client_id", "told"}, …], where `told` is null, true, or why the client was not told

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const tools = process.env.FOREPOST_TEST_TOOLS;
if (!tools) throw new Error('FOREPOST_TEST_TOOLS is not set: start the tests with tests/run');
const { Provider, errors } = await import(pathToFileURL(createRequire(`${tools}/`).resolve('oidc-provider')));

// The library's notices would go to stdout, of which the test reads the first line only.
console.info = console.error;

const users = {
  alice: { name: 'Alice Ärger', email: 'alice@example.test', groups: ['admins', 'staff'] },
  bob: { name: 'Bob', email: 'bob@example.test', groups: ['staff'] },
};

// Storage is outside of the Provider, because a key rotation makes a new Provider and must not end sessions.
const records = new Map();

class Storage {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, expiresIn) {
    const expiresAt = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
    records.set(`${this.model} ${id}`, { model: this.model, payload, expiresAt });
  }

  async find(id) {
    const record = records.get(`${this.model} ${id}`);
    return record && record.expiresAt > Date.now() ? record.payload : undefined;
  }

  async findBy(property, value) {
    for (const { model, payload, expiresAt } of records.values()) {
      if (model === this.model && payload[property] === value && expiresAt > Date.now()) return payload;
    }
    return undefined;
  }

  findByUid(uid) {
    return this.findBy('uid', uid);
  }

  findByUserCode(userCode) {
    return this.findBy('userCode', userCode);
  }

  async consume(id) {
    const payload = await this.find(id);
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    records.delete(`${this.model} ${id}`);
  }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of records) {
      if (payload.grantId === grantId) records.delete(key);
    }
  }
}

function newKeys() {
  const kinds = {
    RS256: ['rsa', { modulusLength: 2048 }],
    PS256: ['rsa', { modulusLength: 2048 }],
    ES256: ['ec', { namedCurve: 'P-256' }],
    EdDSA: ['ed25519', {}],
  };
  return Object.entries(kinds).map(([alg, [type, options]]) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
    alg,
    use: 'sig',
    kid: `${alg}-${randomUUID()}`,
  }));
}

// A person would confirm the logout; here the page does it. Without scripts: POST its form.
function confirmLogout(ctx, form) {
  const confirmed = form.replace('</form>', '<input type="hidden" name="logout" value="yes"></form>');
  ctx.type = 'html';
  ctx.body = `<!doctype html><title>Signing out</title>${confirmed}<script>document.forms[0].submit()</script>`;
}

const grants = ['authorization_code', 'refresh_token'];

function newProvider({ issuer, clients, lifetime, slim, pushed, bound, resources }, keys) {
  const provider = new Provider(issuer, {
    adapter: Storage,
    clients: clients.map((client) => ({ grant_types: [...grants, ...(resources ? ['client_credentials'] : [])], ...client })),
    jwks: { keys },
    cookies: { keys: ['cookies of a test'] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    claims: { profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
    conformIdTokenClaims: slim, // By default the claims of the scopes are in the ID token too, not only at userinfo.
    // More than any client of a test asks for, and some that hardly anybody knows: metadata is like that.
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'ES512', 'Ed25519', 'EdDSA', 'HS256'] },
    findAccount: (_, id) =>
      users[id] && {
        accountId: id,
        claims: () => ({ sub: id, preferred_username: id, email_verified: true, ...users[id] }),
      },
    issueRefreshToken: (_, client, code) =>
      client.grantTypeAllowed('refresh_token') && (bound || code.scopes.has('offline_access')),
    rotateRefreshToken: true,
    ttl: {
      AccessToken: lifetime,
      AuthorizationCode: 60,
      Grant: 86400,
      IdToken: lifetime,
      Interaction: 3600,
      RefreshToken: 86400,
      Session: 86400,
    },
    features: {
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: !!resources },
      resourceIndicators: {
        enabled: !!resources,
        getResourceServerInfo: (_, resource) => {
          const accessTokenFormat = resources[resource];
          if (!accessTokenFormat) throw new errors.InvalidTarget();
          return { scope: 'read write', audience: resource, accessTokenFormat, accessTokenTTL: lifetime };
        },
      },
      deviceFlow: { enabled: true }, // For clients that have its grant type.
      devInteractions: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: pushed },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: confirmLogout },
    },
    // Its own dispatcher refuses loopback addresses, and that is where back-channel logouts go here.
    fetch: (url, { dispatcher: _, ...options }) => fetch(url, options),
  });
  provider.on('server_error', (_, error) => console.error(error));
  for (const event of ['authorization.error', 'grant.error', 'backchannel.error']) {
    provider.on(event, (_, error) => console.error(event, error.message, error.error_description ?? ''));
  }
  return { provider, answer: provider.callback() };
}

// A client that answers with an error was not told.
async function tell(client, accountId, sid) {
  if (!client.backchannelLogoutUri) return null;
  try {
    await client.backchannelLogout(accountId, sid);
    return true;
  } catch (error) {
    return error.message;
  }
}

async function endSessions({ provider }, accountId) {
  const ended = [];
  for (const [key, { model, payload }] of records) {
    if (model !== 'Session' || payload.accountId !== accountId) continue;
    for (const [id, { sid, grantId, persistsLogout }] of Object.entries(payload.authorizations ?? {})) {
      const told = await tell(await provider.Client.find(id), accountId, sid);
      if (!persistsLogout) await new Storage('').revokeByGrantId(grantId);
      ended.push({ sid, client_id: id, told });
    }
    records.delete(key);
  }
  return ended;
}

const defaults = { port: 0, host: 'idp.localhost', clients: [], lifetime: 3600, slim: false, pushed: false, bound: false };
const config = { ...defaults, ...JSON.parse(process.argv[2] ?? '{}') };
const stats = {};
let keys = newKeys();
let op;
let down = false;

const hooks = {
  '/_test/rotate': (query) => {
    const fresh = newKeys();
    keys = query.has('keep') ? [...fresh, ...keys] : fresh;
    op = newProvider(config, keys);
    return keys.map((key) => key.kid);
  },
  '/_test/down': () => (down = true),
  '/_test/up': () => (down = false),
  '/_test/stats': () => stats,
  '/_test/client': (query) => {
    Object.assign(config.clients[0], JSON.parse([...query.keys()][0]));
    op = newProvider(config, keys);
    return config.clients[0];
  },
  '/_test/end-sessions': (query) => endSessions(op, [...query.keys()][0]),
};

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  if (hooks[pathname]) {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(await hooks[pathname](searchParams)));
    return;
  }
  const name = `${request.method} ${pathname}`;
  stats[name] = (stats[name] ?? 0) + 1;
  if (down) {
    response.statusCode = 503;
    response.end('down for a test');
    return;
  }
  op.answer(request, response);
});

server.listen(config.port, '127.0.0.1', () => {
  config.port = server.address().port;
  config.issuer ??= `http://${config.host}:${config.port}`;
  op = newProvider(config, keys);
  console.log(JSON.stringify({ port: config.port, issuer: config.issuer }));
});

// A test that died cannot leave a provider behind.
process.stdin.resume().on('close', () => process.exit()).on('error', () => process.exit());
