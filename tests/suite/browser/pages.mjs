// Every page of forepost, brought about as it comes about, and looked at in every way.

import assert from 'node:assert/strict';

import { asked, at, ends, parameters, signIn, tab, tell, visitor } from './common.mjs';

const SIZES = [
    ['wide', { width: 1000, height: 700 }],
    ['phone', { width: 360, height: 640 }],
];

/** Expects one of forepost's pages: its status and heading, the id of its request, room on a phone, no complaints. */
async function look(page, name, status, heading) {
    await page.getByRole('heading', { name: heading, level: 1, exact: true }).waitFor();
    const answer = page.document();
    assert.equal(answer.status(), status, name);
    const id = answer.headers()['x-request-id'];
    assert.equal(await page.innerText('footer'), `Request ${id}`, name);
    assert.doesNotMatch(await page.innerText('body'), /[`<>{}]/, name);
    for (const [size, viewport] of SIZES) {
        await page.setViewportSize(viewport);
        for (const colorScheme of ['light', 'dark']) {
            await page.emulateMedia({ colorScheme });
            const path = `${parameters.screenshots}/${name}-${size}-${colorScheme}.png`;
            await page.screenshot({ path, fullPage: true });
        }
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${name}: ${overflow} px too wide for ${size}`);
    }
    assert.deepEqual(page.complaints, [], name);
}

const button = (page, name) => page.getByRole('main').locator('.button', { hasText: name });

await tell(async (browser) => {
    const newcomer = async () => tab(await visitor(browser));
    await forbidden(await newcomer());
    await signOut(await newcomer());
    await signOutEverywhere(await newcomer(), await newcomer());
    await denied(await newcomer());
    await away(await newcomer());
    await forged(await newcomer());
    await cookieMissing(await newcomer());
    await loop(await newcomer());
    await badRequest(await newcomer());
});

async function forbidden(page) {
    await page.goto(at('admin.closed', '/reports?year=1'));
    await signIn(page, 'bob');
    await look(page, 'forbidden', 403, 'No access');
    // The provider asks who it is, although bob is signed in there.
    await button(page, 'Sign in as someone else').click();
    await signIn(page, 'bob');
    await look(page, 'forbidden', 403, 'No access');
    await page.getByRole('link', { name: 'Sign out', exact: true }).click();
    await look(page, 'signed-out', 200, 'Signed out');
    await button(page, 'Sign in again').click();
    await signIn(page, 'alice');
    await ends(page, at('admin.closed'), 'Administration');
}

/** A link on another site signs no user out, but leads to a question. */
async function signOut(page) {
    await page.goto(at('whoami'));
    await signIn(page, 'alice');
    await ends(page, at('whoami'), 'Who am I?');
    await page.goto(parameters.elsewhere);
    await page.getByRole('link', { name: 'A kitten' }).click();
    await look(page, 'confirm-sign-out', 200, 'Sign out?');

    const still = await tab(page.context());
    await still.goto(at('whoami'));
    await ends(still, at('whoami'), 'Who am I?');

    await button(page, 'Sign out').first().click();
    await ends(page, at('whoami', '/outpost.goauthentik.io/signed_out'), 'Signed out');
    assert.deepEqual(page.complaints, []);
    await still.goto(at('whoami'));
    await asked(still);
}

/** One browser ends what the other one has. */
async function signOutEverywhere(page, other) {
    for (const each of [page, other]) {
        await each.goto(at('whoami'));
        await signIn(each, 'alice');
        await ends(each, at('whoami'), 'Who am I?');
    }
    await page.goto(at('whoami', '/outpost.goauthentik.io/sign_out?everywhere=true'));
    await page.getByRole('button', { name: 'Sign out everywhere', exact: true }).click();
    await ends(page, at('whoami', '/outpost.goauthentik.io/signed_out'), 'Signed out');
    assert.deepEqual(page.complaints, []);

    // No user is signed in any more who could ask for it.
    await page.goto(at('whoami', '/outpost.goauthentik.io/sign_out?everywhere=true'));
    await page.getByRole('button', { name: 'Sign out everywhere', exact: true }).click();
    await look(page, 'not-signed-out-everywhere', 200, 'Not signed out elsewhere');
    assert.equal(await button(page, 'Sign in').count(), 1);

    // The provider knows the other browser still, and would let it in again at once.
    const cookies = await other.context().cookies();
    await other.context().clearCookies();
    await other.context().addCookies(cookies.filter(({ name }) => name.includes('authentik_proxy')));
    await other.goto(at('whoami'));
    await asked(other);
}

async function denied(page) {
    await page.goto(at('notes.denied', '/mine'));
    await look(page, 'login-failed', 403, 'Login failed');
    await button(page, 'Try again').click();
    await look(page, 'login-failed', 403, 'Login failed');
}

async function away(page) {
    await page.goto(at('notes.away'));
    await signIn(page, 'alice');
    await look(page, 'provider-away', 503, 'Login is not possible right now');
}

/** The operator is told what to compare. */
async function forged(page) {
    await page.goto(at('notes.forged'));
    await signIn(page, 'alice');
    await look(page, 'login-failed-token', 502, 'Login failed');
}

async function cookieMissing(page) {
    await page.goto(at('whoami', '/late'));
    await asked(page);
    await page.context().clearCookies();
    await signIn(page, 'alice');
    // Another attempt begins by itself, and the user does not see it.
    await ends(page, at('whoami', '/late'), 'Who am I?');
}

/** A browser that forgets its session as soon as it has one. */
async function loop(page) {
    const context = page.context();
    const network = await context.newCDPSession(page);
    network.on('Fetch.requestPaused', async ({ requestId }) => {
        await context.clearCookies({ name: /authentik_proxy_[0-9a-f]{8}$/ });
        await network.send('Fetch.continueRequest', { requestId });
    });
    const urlPattern = '*/outpost.goauthentik.io/callback*';
    await network.send('Fetch.enable', { patterns: [{ urlPattern, requestStage: 'Response' }] });
    await page.goto(at('notes.forgetful'));
    await signIn(page, 'alice');
    await look(page, 'login-loop', 400, 'Login stopped');
    await network.send('Fetch.disable');
    await button(page, 'Try again').click();
    await ends(page, at('notes.forgetful'), 'Notes');
}

async function badRequest(page) {
    await page.goto(at('whoami.stranger'));
    await look(page, 'bad-request', 400, 'This request cannot be answered');
    await page.goto(at('whoami', '/outpost.goauthentik.io/callback'));
    await look(page, 'bad-request-callback', 400, 'This request cannot be answered');
    await page.goto(at('whoami', '/outpost.goauthentik.io/callback?code=x&state=of-a-restarted-forepost'));
    await look(page, 'login-failed-state', 400, 'Login failed');
}
