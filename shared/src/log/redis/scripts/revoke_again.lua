-- Numbers what the region itself revoked above what others have heard: a tail that was lost took that with it.
-- KEYS: as `revokes`. ARGV: what, the number that others have. Checks: it is there, the region's own, with a smaller number.
-- Writes: the number. Answers: nothing.
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if at and tonumber(at) < tonumber(ARGV[2]) and redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 0 then
  local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  redis.call('ZADD', KEYS[1], text(math.max(tonumber(newest[2]) + 1, now_ms(), ARGV[2] + 1)), ARGV[1])
end
return {}
