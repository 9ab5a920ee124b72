-- Makes the register of a jump, unless there is one.
-- KEYS: register, open of the region left, open of the other. ARGV: name, region left, the other, sector there, body, what redis-nexus
-- called itself. Checks: whether there is one. Writes: the register, offered.
-- Answers: region and sector that it leads to, state, whether redis-nexus is called so still (1 or 0).
local stored = redis.call('HMGET', KEYS[1], 'state', 'hub', 'to', 'sector')
if not stored[1] then
  stored = { 'offered', ARGV[6], ARGV[3], ARGV[4] }
  redis.call('HSET', KEYS[1], 'format', '1', 'state', 'offered', 'hub', ARGV[6], 'from', ARGV[2], 'to', ARGV[3], 'sector', ARGV[4],
    'body', ARGV[5])
  local now = text(now_ms())
  redis.call('ZADD', KEYS[2], now, ARGV[1])
  redis.call('ZADD', KEYS[3], now, ARGV[1])
end
return { stored[3], stored[4], stored[1], stored[2] == replication_id() and '1' or '0' }
