-- What Envoy's JSON transcoder leaves undone. Runs before it on requests and after it on responses.

-- Fields that a path can bind. A query parameter of the same name would win over the path, so that a call for one wallet
-- would be a call for another.
local PATH_FIELDS = {
  ["name"] = true, ["wallet"] = true, ["wallet.name"] = true, ["transaction"] = true, ["endpoint.name"] = true,
}

-- A query parameter would win over the body as well. What a call that changes something takes beside its body: the body
-- of nearly all is the whole request, and they take nothing. Only CreateWallet, UpdateWallet, CloseWallet and
-- UpdateWebhookEndpoint (/v1/wallets, /v1/wallets/{id} and /v1/webhookEndpoints/{id}, without the colon of a custom method)
-- say something in the query.
local BESIDE_THE_BODY = {["walletId"] = true, ["requestId"] = true, ["updateMask"] = true, ["etag"] = true}
local CHANGES = {["POST"] = true, ["PATCH"] = true, ["DELETE"] = true}

-- Every other parameter may be given once: the transcoder would quietly take the last.
local REPEATED = {["names"] = true}

local function decoded(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- RFC 3629. Protobuf strings are UTF-8: the service could not even read a message with anything else in it.
local function is_utf8(text)
  if text:find("\224[\128-\159]") or text:find("\237[\160-\191]") or text:find("\240[\128-\143]")
      or text:find("\244[\144-\191]") then
    return false -- overlong, surrogate or above U+10FFFF
  end
  text = text:gsub("[\240-\244][\128-\191][\128-\191][\128-\191]", " ")
  text = text:gsub("[\224-\239][\128-\191][\128-\191]", " ")
  text = text:gsub("[\194-\223][\128-\191]", " ")
  return not text:find("[\128-\255]")
end

-- What is wrong with the query of this JSON call; nil: nothing.
local function wrong_query(method, resource, query)
  local parted = resource:find("^wallets") or resource:find("^webhookEndpoints/")
  local whole = not parted or resource:find(":", 1, true)
  local seen = {}
  for parameter in query:gmatch("[^&]+") do
    local given = decoded(parameter:match("^[^=]*"))
    local field = given:gsub("_(%l)", string.upper) -- the transcoder takes wallet_id for walletId
    if PATH_FIELDS[field] and resource:find("/", 1, true) then
      return "the path already says what the query parameter " .. given .. " says"
    end
    if CHANGES[method] and (whole or not BESIDE_THE_BODY[field]) then
      return "this call does not take the query parameter " .. given .. "; it belongs in the body"
    end
    if seen[field] and not REPEATED[field] then
      return "the query parameter " .. given .. " is given more than once"
    end
    seen[field] = true
  end
end

-- HTTP allows more in a header's name than gRPC, which also reads some headers that no JSON call has a use for: a service's
-- library would take the whole call for broken, which is 500. A deadline may be said all the same.
local function drop_what_grpc_cannot_read(headers)
  local dropped = {}
  for name in pairs(headers) do
    if name:find("[^%w_.:-]") or name:find("%-bin$") or (name:find("^grpc%-") and name ~= "grpc-timeout") then
      dropped[#dropped + 1] = name
    end
  end
  for _, name in ipairs(dropped) do
    headers:remove(name)
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path")
  if path:find("[%%\128-\255]") and not is_utf8(decoded(path)) then
    handle:respond({[":status"] = "400"}, "the path is not UTF-8")
    return
  end
  local resource, query = path:match("^/v1/([^?]*)%??(.*)$")
  if not resource then
    return
  end
  -- The transcoder passes over empty parts at the end: /v1/transfers/:batch would be a batch that no limit takes for one.
  if resource:find("/:", 1, true) or resource:find("/$") then
    handle:respond({[":status"] = "404"}, "there is no such call")
    return
  end
  drop_what_grpc_cannot_read(headers)
  local method = headers:get(":method")
  local wrong = wrong_query(method, resource, query)
  if wrong then
    handle:respond({[":status"] = "400"}, wrong)
  end
end

-- A call is over at its deadline for Envoy, the service and the gRPC library under it alike. The first two give a reason;
-- where the library is the fastest, which it is when the service is held up, its bare status is made whole here.
local TIME_WAS_UP = [[{"code":4,"message":"the call's time was up; the same call with the same request id may be sent ]]
  .. [[again: it happens once and tells what became of it","details":[{"@type":]]
  .. [["type.googleapis.com/google.rpc.ErrorInfo","reason":"DEADLINE_EXCEEDED","domain":"specie","metadata":{}}]}]]

local function give_reason(handle)
  local body = handle:body()
  if body ~= nil and body:getBytes(0, body:length()):find('"details":[]', 1, true) then
    handle:headers():replace("content-length", tostring(body:setBytes(TIME_WAS_UP)))
  end
end

-- Server-sent events as the transcoder writes them: lines "data: " and JSON, each with a blank line behind it. The cursor,
-- which is the last field, becomes the event's id: a browser that comes back sends it as Last-Event-ID. A chunk may hold
-- several events, or a part of one, which waits for the rest.
local function give_ids(handle)
  local rest = ""
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    local text = length == 0 and rest or rest .. chunk:getBytes(0, length)
    local whole, from = {}, 1
    local blank = text:find("\n\n", from, true)
    while blank do
      local event = text:sub(from, blank + 1)
      local cursor = event:match('"cursor":"([%w_-]+)"}\n\n$')
      whole[#whole + 1] = cursor and "id: " .. cursor .. "\n" .. event or event
      from = blank + 2
      blank = text:find("\n\n", from, true)
    end
    rest = text:sub(from)
    chunk:setBytes(table.concat(whole))
  end
end

-- What HTTP's own clients look for. A service that has enough to do says RESOURCE_EXHAUSTED with RetryInfo, which is 429
-- here; one that does not believe a token says UNAUTHENTICATED, which is 401 (RFC 9110 wants a challenge with it).
function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  if status == "429" and headers:get("retry-after") == nil then
    headers:add("retry-after", "1")
  elseif status == "401" and headers:get("www-authenticate") == nil then
    headers:add("www-authenticate", 'Bearer realm="specie", error="invalid_token"')
  elseif status == "504" then
    give_reason(handle)
  elseif headers:get("content-type") == "text/event-stream" then
    give_ids(handle)
  end
end
