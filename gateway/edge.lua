-- What Envoy's JSON transcoder leaves undone. Runs before it on requests and after it on responses.

-- Fields that a path can bind. A query parameter of the same name would win over the path, so that a call for one wallet
-- would be a call for another.
local PATH_FIELDS = {["name"] = true, ["wallet"] = true, ["wallet.name"] = true}

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

function envoy_on_request(handle)
  local path = handle:headers():get(":path")
  if path:find("[%%\128-\255]") and not is_utf8(decoded(path)) then
    handle:respond({[":status"] = "400"}, "the path is not UTF-8")
    return
  end
  local resource, query = path:match("^/v1/(%l+/[^?]*)%?(.*)$")
  if resource then
    for key in query:gmatch("([^&=]+)") do
      if PATH_FIELDS[decoded(key)] then
        handle:respond({[":status"] = "400"}, "the path already says what the query parameter " .. decoded(key) .. " says")
        return
      end
    end
  end
end

-- A service that has enough to do says RESOURCE_EXHAUSTED with RetryInfo, which is 429 here; HTTP's own clients look for
-- retry-after.
function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "429" and headers:get("retry-after") == nil then
    headers:add("retry-after", "1")
  end
end
