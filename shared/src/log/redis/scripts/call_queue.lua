-- Gives a call to the workers of its callee, once.
-- KEYS: calls of the callee, queued. ARGV: calls kept, ms until when `queued` lives, then fields and values of the item.
-- Checks: workers have made the stream; the call was not queued before. Writes: the item, `queued`.
-- Answers: OK | UNKNOWN.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'UNKNOWN' }
elseif redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '=', ARGV[1], '*', unpack(ARGV, 3))
  redis.call('SET', KEYS[2], '', 'PXAT', ARGV[2])
end
return { 'OK' }
