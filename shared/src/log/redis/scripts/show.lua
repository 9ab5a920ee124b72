-- Sets what a session of a player is shown as.
-- KEYS: at. ARGV: session, generation, channel, status. Checks: the session's generation is still its own.
-- Writes: `p:<session>` if it is another status, the number of the change; publishes who is present.
-- Answers: DONE | OTHER.
local stored = redis.call('HMGET', KEYS[1], 's:' .. ARGV[1], 'p:' .. ARGV[1])
if not stored[1] or string.match(stored[1], '^%d+') ~= ARGV[2] then
  return { 'OTHER' }
end
if (stored[2] or 'online') ~= ARGV[4] then
  redis.call('HSET', KEYS[1], 'p:' .. ARGV[1], ARGV[4])
  tell_presence(KEYS[1], ARGV[3], now_ms())
end
return { 'DONE' }
