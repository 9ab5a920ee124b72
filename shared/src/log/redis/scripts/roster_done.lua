-- Something of a roster is done.
-- KEYS: due, words. ARGV: what, its turn. Checks: it did not come again since. Writes: removes it. Answers: nothing.
local turn = redis.call('ZSCORE', KEYS[1], ARGV[1])
if turn and tonumber(turn) == tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], 'w:' .. ARGV[1])
end
return {}
