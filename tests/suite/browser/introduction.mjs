// What the demo prints to try, from top to bottom in one browser.

import assert from 'node:assert/strict';

import { asked, at, ends, parameters, signIn, tab, tell, visitor } from './common.mjs';

const SIGN_OUT = at('whoami', '/outpost.goauthentik.io/sign_out');

/** What is to be seen at each address of the list, in its order. */
const STEPS = [
    [at('whoami'), (page) => signedIn(page, 'alice', at('whoami'), 'Who am I?')],
    [at('notes'), (page) => is(page, 'Alice', at('notes'), 'Notes')],
    [at('whoami', '/admin'), (page) => is(page, 'Alice', at('admin'), 'Administration')],
    [at('whoami', '/public/'), (page) => is(page, 'Alice', at('whoami', '/public/'), 'Public page')],
    [SIGN_OUT, (page) => signedOut(page)],
    [at('whoami'), (page) => signedIn(page, 'bob', at('whoami'), 'Who am I?')],
    [at('whoami', '/admin'), (page) => isForbidden(page)],
];

/** The addresses of the list; `/admin` alone stands for that of whoami. The last one is for `curl`. */
function printed() {
    const words = parameters.introduction.split(/[\s,]+/);
    const urls = words.filter((word) => word.includes('.localhost:') && !word.includes('//idp.') || word === '/admin');
    // A line that begins with `/admin` has the address behind it.
    const addresses = urls.map((url) => (url === '/admin' ? at('whoami', '/admin') : url));
    return addresses.filter((url, number) => url !== addresses[number - 1]).slice(0, -1);
}

async function signedIn(page, user, url, heading) {
    await signIn(page, user);
    await ends(page, url, heading);
    assert.match(await page.innerText('header'), new RegExp(`signed in as ${user}`, 'i'));
}

async function is(page, name, url, heading) {
    await ends(page, url, heading);
    assert.match(await page.innerText('header'), new RegExp(`signed in as ${name}`));
}

async function signedOut(page) {
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await ends(page, at('whoami', '/public/signed-out'), 'You are signed out');
    // In all applications, so that the next user of this computer finds no session.
    for (const label of ['whoami', 'notes', 'admin']) {
        await page.goto(at(label));
        await asked(page);
    }
}

async function isForbidden(page) {
    await ends(page, at('admin'), 'No access');
    assert.match(await page.innerText('main'), /signed in as bob/);
    assert.equal(page.document().status(), 403);
}

await tell(async (browser) => {
    assert.deepEqual(printed(), STEPS.map(([url]) => url));
    const page = await tab(await visitor(browser));
    for (const [url, expect] of STEPS) {
        await page.goto(url);
        await expect(page);
    }
    // Bob's own in the other ones, too.
    await page.goto(at('notes'));
    await is(page, 'Bob', at('notes'), 'Notes');
});
