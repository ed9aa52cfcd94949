// What all scripts share: the browser, the login, and what is told when something fails.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { chromium } = createRequire(`${process.env.FOREPOST_TEST_TOOLS}/`)('playwright-core');

export const parameters = JSON.parse(process.argv[2]);

/** The URL of a path at an application of the demo's proxy. */
export const at = (label, path = '/') => `http://${label}.localhost:${parameters.port}${path}`;

/** Runs `story` with a browser. What it returns is the script's answer; what it throws is the script's failure. */
export async function tell(story) {
    const browser = await chromium.launch({
        executablePath: `${process.env.FOREPOST_TEST_TOOLS}/bin/chromium`,
        args: [
            '--no-sandbox',
            '--disable-gpu',
            '--disable-quic',
            '--no-first-run',
            '--no-proxy-server',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            '--host-resolver-rules=MAP *.example.test 127.0.0.1',
        ],
    });
    try {
        const answer = await story(browser);
        process.stdout.write(JSON.stringify(answer ?? null));
    } catch (error) {
        process.exitCode = 1;
        console.error(error.stack);
        await describe(browser);
    } finally {
        await browser.close();
    }
}

async function describe(browser) {
    for (const page of browser.contexts().flatMap((context) => context.pages())) {
        const text = await page.innerText('body', { timeout: 1000 }).catch((error) => error.message);
        console.error(`\n--- ${page.url()}\n${text}`);
    }
}

/** Someone with cookies of their own. */
export function visitor(browser, options = {}) {
    return browser.newContext({ ignoreHTTPSErrors: true, ...options });
}

/** A page that remembers the last document it was given, as `page.document()`, and what the console complained about. */
export async function tab(context) {
    const page = await context.newPage();
    let last;
    page.complaints = [];
    page.document = () => last;
    page.on('response', (response) => {
        if (response.request().isNavigationRequest() && response.frame() === page.mainFrame()) {
            last = response;
        }
    });
    page.on('pageerror', (error) => page.complaints.push(error.message));
    page.on('console', (message) => {
        // Chromium notes every answer of 400 and above here, the pages under test included.
        const status = message.text().startsWith('Failed to load resource: the server responded with a status of');
        if (message.type() === 'error' && !status) {
            page.complaints.push(message.text());
        }
    });
    return page;
}

/** Expects the provider's login form, for `application`'s host. */
export async function asked(page) {
    await page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor();
    assert.match(new URL(page.url()).host, /^idp\.localhost:/);
}

/** Signs in with one click at the provider. */
export async function signIn(page, name) {
    await asked(page);
    await page.getByRole('button', { name, exact: true }).click();
}

/** Expects to end at exactly this URL, on a page with this heading; behind a sign-out stands the state that came back. */
export async function ends(page, url, heading) {
    await page.getByRole('heading', { name: heading, level: 1, exact: true }).waitFor();
    assert.equal(page.url().replace(/(\/signed[_-]out)\?state=[\w-]{22}$/, '$1'), url);
}

/** The session and login cookies of forepost that this context sends to `url`. */
export async function cookies(context, url) {
    const all = await context.cookies(url);
    return all.filter((cookie) => cookie.name.includes('authentik_proxy_'));
}

/** Expects one cookie of forepost at `url`: of this name and domain, for the server alone, kept beyond the browser's end. */
export async function keeps(context, url, expectedName, expectedDomain) {
    const kept = await cookies(context, url);
    assert.equal(kept.length, 1, JSON.stringify(kept));
    const { name, domain, path, httpOnly, secure, sameSite, expires } = kept[0];
    assert.match(name, expectedName);
    assert.deepEqual(
        { domain, path, httpOnly, secure, sameSite },
        { domain: expectedDomain, path: '/', httpOnly: true, secure: url.startsWith('https:'), sameSite: 'Lax' },
    );
    assert.ok(expires > Date.now() / 1000, `${name} expires at ${expires}`);
}
