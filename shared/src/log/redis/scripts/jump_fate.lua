-- Tells a region what became of a jump out of it.
-- KEYS: out, open, over. ARGV: name, fate. Checks: that it is known, and may become that (JumpFate::may_become).
-- Writes: its fate. Answers: its fate then, or ''.
local next = {
  waiting = { asked = true, taken = true, arrived = true, cancelled = true },
  asked = { taken = true, arrived = true },
  taken = { arrived = true },
}
local fate = redis.call('HGET', KEYS[1], 'f:' .. ARGV[1])
if not fate then
  return { '' }
end
if next[fate] and next[fate][ARGV[2]] then
  fate = ARGV[2]
  redis.call('HSET', KEYS[1], 'f:' .. ARGV[1], fate)
  if not next[fate] then
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('ZADD', KEYS[3], text(now_ms()), ARGV[1])
  end
end
return { fate }
