-- A jump into this region was dealt with.
-- KEYS: in, coming, came. ARGV: name, ms that this is remembered, replication id. Checks: the replication id: under another one the
-- arrival may have gone with a tail. Writes: the jump is gone, its name is remembered; older ones are not any more. Answers: DONE | OTHER.
if replication_id() ~= ARGV[3] then
  return { 'OTHER' }
end
redis.call('HDEL', KEYS[1], 'r:' .. ARGV[1], 'b:' .. ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
local now = now_ms()
redis.call('ZADD', KEYS[3], text(now), ARGV[1])
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now - ARGV[2]), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[3], name)
end
return { 'DONE' }
