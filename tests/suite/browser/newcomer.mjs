// What the demo tells a newcomer to try.

import assert from 'node:assert/strict';

import { asked, at, cookies, ends, keeps, signIn, tab, tell, visitor } from './common.mjs';

const SIGN_OUT = '/outpost.goauthentik.io/sign_out';

await tell(async (browser) => {
    const alice = await visitor(browser);
    const page = await tab(alice);

    // The very URL, with all that may be changed on the way there and back.
    const deep = at('whoami', '/a%20b/%C3%A4?x=1&y=%2F&y=2&z=100%25');
    await page.goto(deep);
    await asked(page);
    await keeps(alice, at('whoami'), /^authentik_proxy_login_/, 'whoami.localhost');
    await signIn(page, 'alice');
    await ends(page, deep, 'Who am I?');
    const row = (name) => page.getByRole('row', { name: new RegExp(`^${name}`) }).getByRole('cell');
    for (const [name, value] of [
        ['x-authentik-username', 'alice'],
        ['x-authentik-name', 'Alice Ärger'],
        ['x-authentik-groups', 'admins|staff'],
        ['x-authentik-meta-app', 'whoami'],
    ]) {
        assert.equal(await row(name).innerText(), value, name);
    }

    // What the browser keeps: one cookie, and nothing of the login.
    await keeps(alice, at('whoami'), /^authentik_proxy_[0-9a-f]{8}$/, 'whoami.localhost');
    assert.equal(await page.evaluate(() => document.cookie), '');

    // No second login.
    await page.getByRole('link', { name: 'Second application' }).click();
    await ends(page, at('notes'), 'Notes');
    await page.getByRole('link', { name: '/admin' }).click();
    await ends(page, at('admin'), 'Administration');

    // A public path knows the user, and needs none.
    await page.goto(at('whoami', '/public/'));
    assert.match(await page.innerText('header'), /signed in as Alice/);
    const anonymous = await visitor(browser);
    const stranger = await tab(anonymous);
    await stranger.goto(at('whoami', '/public/'));
    await ends(stranger, at('whoami', '/public/'), 'Public page');
    assert.match(await stranger.innerText('header'), /not signed in/);
    assert.deepEqual(await anonymous.cookies(), []);

    // Signed out means signed out here and at the provider.
    await page.getByRole('link', { name: 'Sign out' }).click();
    await ends(page, at('whoami', '/public/signed-out'), 'You are signed out');
    assert.deepEqual(await cookies(alice, at('whoami')), []);
    await page.goto(at('whoami'));
    await asked(page);

    // Bob is not an administrator, and may come back as a user who is.
    const bob = await visitor(browser);
    const other = await tab(bob);
    await other.goto(at('whoami', '/admin'));
    await signIn(other, 'bob');
    await ends(other, at('admin'), 'No access');
    assert.match(await other.innerText('main'), /signed in as bob/);
    assert.equal(other.document().status(), 403);
    await other.getByRole('link', { name: 'Sign out' }).click();
    await ends(other, at('admin', '/public/signed-out'), 'You are signed out');
    await other.goto(at('admin'));
    await signIn(other, 'alice');
    await ends(other, at('admin'), 'Administration');

    // The sign-out that the introduction prints, typed into the address bar.
    await other.goto(at('admin', SIGN_OUT));
    await other.getByRole('button', { name: 'Sign out', exact: true }).click();
    await ends(other, at('admin', '/public/signed-out'), 'You are signed out');
});
