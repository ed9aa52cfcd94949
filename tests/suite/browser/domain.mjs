// One login for a whole domain, and one for a single host, over https.

import assert from 'node:assert/strict';

import { asked, cookies, ends, keeps, parameters, signIn, tab, tell, visitor } from './common.mjs';

const secure = (host, path = '/') => `https://${host}:${parameters.port}${path}`;
const [first, second] = ['whoami.example.test', 'notes.example.test'];

await tell(async (browser) => {
    const context = await visitor(browser);
    const page = await tab(context);
    await page.goto(secure(first, '/deep?q=1'));
    await asked(page);
    await keeps(context, secure(second), /^__Secure-authentik_proxy_login_/, '.example.test');
    await signIn(page, 'alice');
    await ends(page, secure(first, '/deep?q=1'), 'Who am I?');

    await keeps(context, secure(first), /^__Secure-authentik_proxy_[0-9a-f]{8}$/, '.example.test');

    // Without a login, and without a way round by the provider.
    const visits = await providerVisits(page, async () => {
        await page.goto(secure(second));
        await ends(page, secure(second), 'Notes');
    });
    assert.equal(visits, 0);

    // A single host beside it has its own session, which no other host can set or see.
    const single = secure('whoami.single.localhost');
    await page.goto(single);
    await ends(page, single, 'Who am I?');
    await keeps(context, single, /^__Host-authentik_proxy_[0-9a-f]{8}$/, 'whoami.single.localhost');

    // The sign-out at one host ends it for all.
    await page.goto(secure(second));
    await page.getByRole('link', { name: 'Sign out' }).click();
    await ends(page, secure('auth.example.test', '/outpost.goauthentik.io/signed_out'), 'Signed out');
    assert.deepEqual(await cookies(context, secure(first)), []);
    await page.goto(secure(first));
    await asked(page);
});

/** How often `action` goes by the provider. */
async function providerVisits(page, action) {
    let visits = 0;
    const count = (request) => {
        visits += new URL(request.url()).hostname === 'idp.localhost' ? 1 : 0;
    };
    page.on('request', count);
    await action();
    page.off('request', count);
    return visits;
}
