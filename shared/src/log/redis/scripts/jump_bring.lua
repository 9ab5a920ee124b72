-- Shows this region's nodes a jump into it.
-- KEYS: in, coming, came. ARGV: name, region, body. Checks: whether it was dealt with, or is known. Writes: the jump.
-- Answers: DONE | WAITS.
if redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  return { 'DONE' }
end
if redis.call('HSETNX', KEYS[1], 'b:' .. ARGV[1], ARGV[3]) == 1 then
  redis.call('HSET', KEYS[1], 'format', '1', 'r:' .. ARGV[1], ARGV[2])
  redis.call('ZADD', KEYS[2], text(now_ms()), ARGV[1])
end
return { 'WAITS' }
