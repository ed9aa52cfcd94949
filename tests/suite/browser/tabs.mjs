// Several tabs at once, and going back.

import assert from 'node:assert/strict';

import { asked, at, cookies, ends, signIn, tab, tell, visitor } from './common.mjs';

await tell(async (browser) => {
    // Six tabs, restored together without a session; each is signed in where it stands.
    const restored = await visitor(browser);
    const tabs = await Promise.all(
        Array.from({ length: 6 }, async (_, number) => {
            const page = await tab(restored);
            const url = at('whoami', `/tab/${number}?n=${number}`);
            await page.goto(url);
            await asked(page);
            return { page, url };
        }),
    );
    for (const { page, url } of tabs) {
        await signIn(page, 'alice');
        await ends(page, url, 'Who am I?');
    }
    for (const { page, url } of tabs) {
        await page.reload();
        await ends(page, url, 'Who am I?');
    }
    const left = await cookies(restored, at('whoami'));
    assert.equal(left.length, 1, `cookies are left: ${left.map((cookie) => cookie.name)}`);

    // Nine tabs are more than one browser may have under way: the first loses its attempt, and still gets where it wants.
    const many = await visitor(browser);
    const pages = [];
    for (let number = 0; number < 9; number += 1) {
        const page = await tab(many);
        await page.goto(at('whoami', `/many/${number}`));
        pages.push(page);
    }
    await signIn(pages[8], 'alice');
    await ends(pages[8], at('whoami', '/many/8'), 'Who am I?');
    await signIn(pages[0], 'alice');
    await ends(pages[0], at('whoami', '/many/0'), 'Who am I?');

    // Back from the application to the login, which the provider answers at once with another code.
    const context = await visitor(browser);
    const page = await tab(context);
    let callback;
    page.on('request', (request) => {
        if (new URL(request.url()).pathname === '/outpost.goauthentik.io/callback') {
            callback = request.url();
        }
    });
    await page.goto(at('whoami', '/public/'));
    await page.goto(at('whoami', '/start'));
    await signIn(page, 'alice');
    await ends(page, at('whoami', '/start'), 'Who am I?');
    await page.goBack();
    await ends(page, at('whoami', '/start'), 'Who am I?');
    // A callback from the history.
    await page.goto(callback);
    await ends(page, at('whoami', '/start'), 'Who am I?');
});
