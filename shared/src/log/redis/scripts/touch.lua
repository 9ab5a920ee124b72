-- Marks that something is about to change, if a nexus is there.
-- KEYS: bridge, marks. ARGV: what, ms that a nexus counts as there.
-- Checks: when a nexus was there last. Writes: the mark with the time. Answers: BRIDGED | ALONE.
local seen = tonumber(redis.call('HGET', KEYS[1], 'seen') or '0')
local now = now_ms()
if seen == 0 or now >= seen + ARGV[2] then
  return { 'ALONE' }
end
redis.call('ZADD', KEYS[2], text(now), ARGV[1])
return { 'BRIDGED' }
