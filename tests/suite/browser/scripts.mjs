// `fetch` and WebSockets of a page: a script is told 401 and keeps its page.

import assert from 'node:assert/strict';

import { at, cookies, ends, signIn, tab, tell, visitor } from './common.mjs';

const call = (page, path) =>
    page.evaluate(async (path) => {
        const response = await fetch(path);
        return { status: response.status, redirected: response.redirected, body: await response.json() };
    }, path);

/** What Chromium says about a handshake that did not become a WebSocket. */
async function knock(page) {
    const opened = page.waitForEvent('websocket');
    await page.evaluate(() => new WebSocket(`ws://${location.host}/socket`));
    return (await opened).waitForEvent('socketerror');
}

await tell(async (browser) => {
    // The demo's own pages allow no script.
    const context = await visitor(browser, { bypassCSP: true });
    const page = await tab(context);

    // Without a session.
    await page.goto(at('whoami', '/public/'));
    await refused(context, page, at('whoami', '/public/'));

    // With one.
    await page.goto(at('whoami', '/board'));
    await signIn(page, 'alice');
    await ends(page, at('whoami', '/board'), 'Who am I?');
    const told = await call(page, '/api');
    assert.equal(told.body.headers['x-authentik-username'], 'alice');
    // The demo's application speaks no WebSocket; that it was asked is what counts.
    assert.match(await knock(page), /Unexpected response code: 200/);

    // The session ends under an open page.
    const other = await tab(context);
    await other.goto(at('whoami', '/outpost.goauthentik.io/sign_out'));
    await other.getByRole('button', { name: 'Sign out', exact: true }).click();
    await ends(other, at('whoami', '/public/signed-out'), 'You are signed out');
    const loginUrl = await refused(context, page, at('whoami', '/board'));

    // Where a page that reads the answer sends its visitor.
    await page.goto(loginUrl);
    await signIn(page, 'alice');
    await ends(page, at('whoami', '/board'), 'Who am I?');
});

/** Expects refusals with a login that comes back to `url`, and nothing else. */
async function refused(context, page, url) {
    const before = await cookies(context, url);
    const { status, redirected, body } = await call(page, '/api?secret=1');
    assert.equal(status, 401);
    assert.equal(redirected, false);
    assert.equal(body.error, 'login_required');
    // Chromium's words for a 401.
    assert.match(await knock(page), /HTTP Authentication failed/);
    assert.deepEqual(await cookies(context, url), before);
    assert.equal(page.url(), url);
    return body.login_url;
}
