-- wrk: send the bodies of the file $BODIES in turn, and print one JSON line of results. Requests are put together once:
-- the load generator shares its cores with the server.
local requests, at = {}, 0
function init()
  local headers = {["Content-Type"] = "application/json"}
  for line in io.lines(os.getenv("BODIES")) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, line)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"rps": %.1f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status + errors.timeout + errors.read + errors.write + errors.connect))
end
