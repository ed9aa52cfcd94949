// A server of the Model Context Protocol with one tool, and a client that finds its way to it (npm's @modelcontextprotocol/sdk).
//
//     FOREPOST_TEST_TOOLS=… node mcp.mjs server
//     FOREPOST_TEST_TOOLS=… node mcp.mjs client URL ISSUER CLIENT_ID CLIENT_SECRET
//
// The server knows nothing of logins: its tool tells the headers that it was called with. When it can be asked, it prints
// {"port"}, and it ends when its stdin is closed. The client knows the server's address and its own registration at a
// provider, learns from the server's 401 that it is the one to ask, and where, and prints what the tool told.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const tools = process.env.FOREPOST_TEST_TOOLS;
if (!tools) throw new Error('FOREPOST_TEST_TOOLS is not set: start the tests with tests/run');
const require = createRequire(`${tools}/`);
const load = (path) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${path}`)).href.replace('/cjs/', '/esm/'));

// Not every system knows that these names are this machine (RFC 6761 §6.3).
const dns = createRequire(import.meta.url)('node:dns');
const { lookup } = dns;
dns.lookup = (host, options, callback) => lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, callback);

async function serve() {
  const { McpServer } = await load('server/mcp.js');
  const { StreamableHTTPServerTransport } = await load('server/streamableHttp.js');
  const http = createServer(async (request, response) => {
    const server = new McpServer({ name: 'whoami', version: '1.0.0' });
    server.registerTool('whoami', { description: 'Tells who asks' }, () => ({
      content: [{ type: 'text', text: JSON.stringify(request.headers) }],
    }));
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
    await server.connect(transport);
    await transport.handleRequest(request, response);
  });
  http.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: http.address().port })));
  process.stdin.resume().on('close', () => process.exit()).on('error', () => process.exit());
}

async function call(url, expectedIssuer, clientId, clientSecret) {
  const { Client } = await load('client/index.js');
  const { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');
  const { ClientCredentialsProvider } = await load('client/auth-extensions.js');
  const authProvider = new ClientCredentialsProvider({ expectedIssuer, clientId, clientSecret, scope: 'read' });
  const client = new Client({ name: 'test', version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }));
  const { content } = await client.callTool({ name: 'whoami' });
  console.log(content[0].text);
  await client.close();
}

const [mode, ...parameters] = process.argv.slice(2);
await (mode === 'server' ? serve() : call(...parameters));
