-- Forgets a jump out of this region.
-- KEYS: out, open, over. ARGV: name. Checks: nothing. Writes: everything of it is gone. Answers: DONE.
redis.call('HDEL', KEYS[1], 'f:' .. ARGV[1], 't:' .. ARGV[1], 'b:' .. ARGV[1], 'c:' .. ARGV[1], 'h:' .. ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return { 'DONE' }
