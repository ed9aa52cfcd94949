// A daemon that is killed and started again while a user reads.

import assert from 'node:assert/strict';

import { at, parameters, signIn, tab, tell, visitor } from './common.mjs';

await tell(async (browser) => {
    const context = await visitor(browser);
    const page = await tab(context);
    await page.goto(at('app', '/first'));
    await signIn(page, 'alice');
    await page.waitForURL(at('app', '/first'));
    const asked = [];
    page.on('request', (request) => {
        const { host, pathname } = new URL(request.url());
        if (host.startsWith('idp.') || pathname.startsWith('/outpost.goauthentik.io/')) {
            asked.push(request.url());
        }
    });
    const fetched = () => page.evaluate(async () => (await fetch('/data')).status);
    assert.equal(await fetched(), 200);
    for (let round = 0; round < parameters.kills; round += 1) {
        assert.equal((await fetch(parameters.control)).status, 200);
        assert.equal(await fetched(), 200);
        const response = await page.goto(at('app', `/page/${round}`));
        assert.equal(response.status(), 200);
        assert.equal(page.url(), at('app', `/page/${round}`));
        await page.reload();
        assert.match(await page.innerText('body'), /the application's page/);
    }
    assert.deepEqual(asked, [], 'the browser is sent nowhere');
});
