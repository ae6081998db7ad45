-- Sends random requests of a prepared file, and prints what came of it as one JSON line.
-- usage: wrk -s load.lua URL -- FILE NUMBER
--   FILE    whole HTTP requests, separated by the byte 30; the first %d in one is a running
--           number, the second a number of ten digits; or each byte 29 is the running number
--   NUMBER  where the running number starts; no two runs may overlap

local requests = {}
local number

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for text in file:read("*a"):gmatch("([^\30]+)") do
    requests[#requests + 1] = text
  end
  file:close()
  number = tonumber(args[2])
  math.randomseed(number % 2 ^ 31)
end

function request()
  number = number + 1
  local text = requests[math.random(#requests)]
  if text:find("\29", 1, true) then
    return (text:gsub("\29", string.format("%015d", number)))
  end
  return string.format(text, number, 1e9 + number % 1e9)
end

function done(summary, latency)
  local errors = summary.errors
  local unanswered = errors.connect + errors.read + errors.write + errors.timeout
  local line = '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,'
    .. '"received_bytes":%d,"refused":%d,"unanswered":%d}\n'
  io.write(line:format(summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.bytes, errors.status, unanswered))
end
