-- Asks forepost about a request, on HAProxy's own HTTP client.
--
--     http-request lua.forward-auth BACKEND
--
-- BACKEND names the backend whose servers are forepost. When forepost allows the request, txn.forepost_status is 200,
-- the identity headers are set and txn.forepost_cookie may hold a cookie for the browser. When it refuses, its answer is
-- the answer. When it cannot be asked, txn.forepost_status stays unset: deny those.

-- What forepost learns about the request besides its URL, method and client address.
local ASKED_WITH = {
    "cookie", "authorization", "user-agent", "accept", "accept-language", "origin", "referer",
    "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-site", "x-requested-with", "upgrade", "sec-websocket-key",
    "access-control-request-method", "access-control-request-headers",
}

-- What the application learns from forepost, and never from the client.
local IDENTITY = {
    "x-authentik-username", "x-authentik-groups", "x-authentik-entitlements", "x-authentik-email",
    "x-authentik-name", "x-authentik-uid", "x-authentik-jwt", "x-authentik-meta-jwks", "x-authentik-meta-outpost",
    "x-authentik-meta-provider", "x-authentik-meta-app", "x-authentik-meta-version",
    "remote-user", "remote-groups", "remote-email", "remote-name",
    "x-forwarded-user", "x-forwarded-groups", "x-forwarded-email", "x-forwarded-preferred-username",
}

-- What the client learns from a refusal.
local REFUSED_WITH = {
    "set-cookie", "www-authenticate", "content-type", "content-security-policy", "cache-control", "retry-after", "vary",
    "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
    "referrer-policy", "x-content-type-options", "x-frame-options",
}

-- All values of a header in one: HAProxy counts them from 0.
local function joined(values, separator)
    local all, i = {}, 0
    while values and values[i] do
        table.insert(all, values[i])
        i = i + 1
    end
    return all[1] and table.concat(all, separator)
end

-- "http://ADDRESS:PORT" of a server of the backend.
local function address_of(backend)
    for _, server in pairs(core.backends[backend].servers) do
        local host, port = server:get_addr():match("^(.*):(%d+)$")
        if host then
            return ("http://%s:%s"):format(host:find(":", 1, true) and "[" .. host .. "]" or host, port)
        end
    end
end

-- The one host that the client names: a name, an IPv4 address or an IPv6 address in brackets, perhaps with a port.
local function host_of(client)
    local text = joined(client["host"], ",") or ""
    local host = text:match("^(.*):%d+$") or text
    return (host:find("^[%w._-]+$") or host:find("^%[[%x:.]+%]$")) and text
end

-- Scheme, host and target are fields of their own: in one text, a part of one could be read as a part of another.
local function question(txn, client, host)
    local headers = {
        ["host"] = { host },
        ["x-forwarded-proto"] = { txn.sf:ssl_fc() == 1 and "https" or "http" },
        ["x-forwarded-host"] = { host },
        ["x-forwarded-uri"] = { txn.sf:pathq() },
        ["x-forwarded-method"] = { txn.sf:method() },
        ["x-forwarded-for"] = { txn.sf:src() },
    }
    for _, name in ipairs(ASKED_WITH) do
        local value = joined(client[name], name == "cookie" and "; " or ", ")
        if value then
            headers[name] = { value }
        end
    end
    return headers
end

local function refuse(txn, answer)
    local reply = txn:reply()
    local status = answer.status
    if status == 401 and joined(answer.headers["x-forepost-action"]) == "redirect" then
        status = 302
        reply:add_header("location", joined(answer.headers["location"]))
    end
    reply:set_status(status)
    for _, name in ipairs(REFUSED_WITH) do
        local i = 0
        while answer.headers[name] and answer.headers[name][i] and not (status == 302 and name == "www-authenticate") do
            reply:add_header(name, answer.headers[name][i])
            i = i + 1
        end
    end
    reply:set_body(answer.body or "")
    txn:done(reply)
end

-- Whether a cookie is one of forepost's, which are for forepost alone.
local function of_forepost(cookie)
    local name = cookie:gsub("^__Host%-", ""):gsub("^__Secure%-", "")
    return name:find("^authentik_proxy_") ~= nil
end

-- Without the blanks around it, in linear time: a client may send many within.
local function trimmed(text)
    local first = text:find("%S")
    return first and text:match(".*%S", first) or ""
end

-- More than a browser sends. All requests share one lock for Lua, so no client may keep it busy.
local MOST_COOKIES = 400

local function keep_cookies_of_the_application(txn)
    local fields, kept, i = txn.http:req_get_headers()["cookie"], {}, 0
    local whole = joined(fields, ";") or ""
    if not whole:find("authentik_proxy_", 1, true) then
        return
    end
    local _, count = whole:gsub(";", "")
    if count > MOST_COOKIES then
        txn.http:req_del_header("cookie")
        return
    end
    while fields and fields[i] do
        for cookie in fields[i]:gmatch("[^;]+") do
            cookie = trimmed(cookie)
            if not of_forepost(cookie) then
                table.insert(kept, cookie)
            end
        end
        i = i + 1
    end
    txn.http:req_del_header("cookie")
    if kept[1] then
        txn.http:req_add_header("cookie", table.concat(kept, "; "))
    end
end

-- All that the application must have from forepost.
local HANDED_ON = { "authorization", table.unpack(IDENTITY) }

local function allow(txn, answer)
    for _, name in ipairs(IDENTITY) do
        local value = joined(answer.headers[name], ",")
        if value then
            txn.http:req_set_header(name, value)
        else
            txn.http:req_del_header(name)
        end
    end
    -- Where the application has basic_auth. Others get what the client says.
    local authorization = joined(answer.headers["authorization"])
    if authorization then
        txn.http:req_set_header("authorization", authorization)
    end
    keep_cookies_of_the_application(txn)
    -- HAProxy drops what its buffer has no room for, and says nothing.
    local handed_on = txn.http:req_get_headers()
    for _, name in ipairs(HANDED_ON) do
        local value = joined(answer.headers[name], ",")
        if value and joined(handed_on[name], ",") ~= value then
            txn:Alert("forward-auth: the buffer has no room for " .. name .. " (tune.maxrewrite)")
            return
        end
    end
    local cookie = joined(answer.headers["set-cookie"])
    if cookie then
        txn:set_var("txn.forepost_cookie", cookie)
    end
    txn:set_var("txn.forepost_status", answer.status)
end

local function forward_auth(txn, backend)
    local address = address_of(backend)
    if not address then
        txn:Alert("forward-auth: no server of backend " .. backend .. " has an address")
        return
    end
    local client = txn.http:req_get_headers()
    local host = host_of(client)
    if not host then
        refuse(txn, { status = 400, headers = {} })
        return
    end
    local answer = core.httpclient():get({
        url = address .. "/outpost.goauthentik.io/auth/nginx",
        headers = question(txn, client, host),
        timeout = 5000,
    })
    if not answer or answer.status == 0 then
        txn:Alert("forward-auth: no answer from " .. address)
        return
    end
    if answer.status ~= 200 then
        refuse(txn, answer)
        return
    end
    allow(txn, answer)
end

core.register_action("forward-auth", { "http-req" }, forward_auth, 1)
