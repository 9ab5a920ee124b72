-- Makes a jump out of this region known, unless it is.
-- KEYS: out, open, over. ARGV: name, where to, body, wants cancel 0|1, ms that what is over is kept.
-- Checks: whether it is known. Writes: the jump, waiting; or that it is to be cancelled; drops what else was over for so long.
-- Answers: its fate.
local fate = redis.call('HGET', KEYS[1], 'f:' .. ARGV[1])
local now = now_ms()
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now - ARGV[5]), 'LIMIT', 0, 100)) do
  if name ~= ARGV[1] then
    redis.call('ZREM', KEYS[3], name)
    redis.call('HDEL', KEYS[1], 'f:' .. name, 't:' .. name, 'b:' .. name, 'c:' .. name, 'h:' .. name)
  end
end
if not fate then
  fate = 'waiting'
  redis.call('HSET', KEYS[1], 'format', '1', 'f:' .. ARGV[1], fate, 't:' .. ARGV[1], ARGV[2], 'b:' .. ARGV[1], ARGV[3])
  redis.call('ZADD', KEYS[2], text(now), ARGV[1])
end
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[1], 'c:' .. ARGV[1], '1')
end
return { fate }
