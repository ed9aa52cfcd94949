// What a host of the same site can do to a browser: cookies that Chromium stores and sends, links and forms.

import assert from 'node:assert/strict';

import { asked, cookies, ends, parameters, signIn, tab, tell, visitor } from './common.mjs';

const secure = (host, path = '/') => `https://${host}:${parameters.port}${path}`;
const ALONE = secure('whoami.example.test');
const DEEP = secure('whoami.domain.example.test', '/deep/page');
const CALLBACK = '/outpost.goauthentik.io/callback';
const SIGN_OUT = '/outpost.goauthentik.io/sign_out';

/** The neighbour's page that sets these cookies, and leads to `to`. */
function neighbour(host, lines, to = '') {
    const query = new URLSearchParams([...lines.map((line) => ['cookie', line]), ['to', to]]);
    return `https://${host}:${parameters.neighbour}/?${query}`;
}

/** The `Cookie` field that Chromium sends with the navigation to `url`. */
async function sent(page, url) {
    const request = page.waitForRequest((request) => request.isNavigationRequest() && request.url() === url);
    await page.goto(url);
    return (await (await request).allHeaders()).cookie ?? '';
}

const WIDE = '; Domain=example.test; Path=/';

/** Cookies with `ours` in them, none of which is `ours` to a browser that keeps its promises about prefixes. */
function within(ours, number) {
    const [name, value] = ours.split('=');
    return [
        `one${number}=dark,${ours}`,
        `two${number}=dark, ${ours}`,
        `three${number},${ours}`,
        `four${number}="dark,${ours}"`,
        `five${number}=dark\t${ours}`,
        `=${ours}`,
        `= ${ours}`,
        `\t${ours}`,
        ours,
        `\u00a0${ours}`,
        `\ufeff${ours}`,
        `${name} =${value}`,
        `${name.toLowerCase()}=${value}`,
        `=${name.toLowerCase()}=${value}`,
        `${ours},x`,
        `"${name}"=${value}`,
    ];
}

await tell(async (browser) => {
    // Mallory's own session, and a login of hers that she does not complete.
    const mallory = await visitor(browser);
    const hers = await tab(mallory);
    await hers.goto(ALONE);
    await signIn(hers, 'bob');
    await ends(hers, ALONE, 'Who am I?');
    const [session] = await cookies(mallory, ALONE);
    const started = await visitor(browser);
    const form = await tab(started);
    await form.goto(ALONE);
    await asked(form);
    const [attempt] = await cookies(started, ALONE);
    assert.match(attempt.name, /^__Host-authentik_proxy_login_/);
    // A browser would follow the redirect.
    const login = `http://127.0.0.1:${new URL(form.url()).port}/login`;
    const answered = await started.request.post(login, {
        form: { request: new URL(form.url()).search.slice(1), login: 'bob', password: 'x' },
        maxRedirects: 0,
    });
    const callback = answered.headers().location;
    assert.ok(callback.startsWith(secure('whoami.example.test', CALLBACK)), callback);

    // All that a neighbour can set, at once and in both ways.
    const victim = await visitor(browser);
    const theirs = await tab(victim);
    const pairs = [session, attempt].flatMap(({ name, value }, number) => within(`${name}=${value}`, number));
    await theirs.goto(neighbour('evil.example.test', pairs.flatMap((pair) => [`${pair}${WIDE}; Secure`, pair + WIDE])));
    await theirs.evaluate((lines) => lines.map((line) => (document.cookie = line)), pairs.map((pair) => pair + WIDE));
    const cookie = await sent(theirs, ALONE);
    await asked(theirs);
    await theirs.goto(callback);
    // A login of the victim's own begins.
    await asked(theirs);
    assert.ok(!theirs.url().includes(new URL(callback).searchParams.get('state')), cookie);
    const opened = (it) => it.domain === 'whoami.example.test' && !it.name.includes('_login_');
    assert.deepEqual((await cookies(victim, ALONE)).filter(opened), []);
    // The test is worth something only where the browser takes part.
    for (const { name, value } of [session, attempt]) {
        assert.ok(cookie.includes(`dark,${name}=${value}`) && cookie.includes(`"${name}"=${value}`), cookie);
        // That it does not do these is its own promise.
        for (const never of [`; ${name}=${value}`, `; ${name} =`, `; ${name.toLowerCase()}=`]) {
            assert.ok(!`; ${cookie}`.includes(never), cookie);
        }
    }

    // A neighbour's link and form only ask; the application's own sign out.
    const alice = await visitor(browser);
    const page = await tab(alice);
    await page.goto(ALONE);
    await signIn(page, 'alice');
    await ends(page, ALONE, 'Who am I?');
    for (const element of [page.getByRole('link'), page.getByRole('button')]) {
        await page.goto(neighbour('evil.example.test', [], secure('whoami.example.test', SIGN_OUT)));
        await element.click();
        await ends(page, secure('whoami.example.test', SIGN_OUT), 'Sign out?');
        await page.goto(ALONE);
        await ends(page, ALONE, 'Who am I?');
    }

    // Where the hosts of a domain share a cookie, one can be planted beside it; it opens nothing, and ends with the next login.
    const [planted] = await plant(browser);
    await page.goto(DEEP);
    await ends(page, DEEP, 'Who am I?');
    const [own] = await cookies(alice, secure('whoami.domain.example.test'));
    const line = `${planted.name}=${planted.value}; Domain=domain.example.test; Path=/deep; Secure`;
    await page.goto(neighbour('evil.domain.example.test', [line]));
    const brought = await sent(page, DEEP);
    assert.ok(brought.includes(planted.value) && brought.includes(own.value), brought);
    await ends(page, DEEP, 'Who am I?');
    assert.match(await page.innerText('header'), /signed in as Alice/);
    const [next] = await cookies(alice, secure('whoami.domain.example.test'));
    assert.notEqual(next.value, own.value);

    // There a page of another host signs out; one that is outside of the domain, or at another port, does not.
    const out = secure('whoami.domain.example.test', SIGN_OUT);
    await page.goto(neighbour('evil.example.test', [], out));
    await page.getByRole('link').click();
    await ends(page, out, 'Sign out?');
    await page.goto(neighbour('portal.domain.example.test', [], out));
    await page.getByRole('link').click();
    await ends(page, out, 'Sign out?');
    const portal = secure('portal.domain.example.test');
    await page.route(portal, (route) => route.fulfill({ contentType: 'text/html', body: `<a href="${out}">A kitten</a>` }));
    await page.goto(portal);
    await page.getByRole('link').click();
    await ends(page, secure('auth.domain.example.test', '/outpost.goauthentik.io/signed_out'), 'Signed out');
});

/** The cookie of bob's session of the domain. */
async function plant(browser) {
    const context = await visitor(browser);
    const page = await tab(context);
    await page.goto(DEEP);
    await signIn(page, 'bob');
    await ends(page, DEEP, 'Who am I?');
    return cookies(context, secure('whoami.domain.example.test'));
}
