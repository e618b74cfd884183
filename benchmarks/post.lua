-- wrk: send the bodies of the file $BODIES in turn, and print one JSON line of results.
local bodies, at = {}, 0
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local headers = {["Content-Type"] = "application/json"}
function request()
  at = at % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[at])
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"rps": %.1f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status + errors.timeout + errors.read + errors.write + errors.connect))
end
