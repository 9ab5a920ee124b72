-- Sets what a session of a player is shown as.
-- KEYS: at. ARGV: session, generation, channel, status, known (a number that was told).
-- Checks: the session's generation is still its own. Writes: `p:<session>` and the number of the change, if it is another
-- status or the stored number is below the known one (a tail was lost): then above it; publishes who is present.
-- Answers: DONE | OTHER.
local stored = redis.call('HMGET', KEYS[1], 's:' .. ARGV[1], 'p:' .. ARGV[1], 'presence')
if not stored[1] or string.match(stored[1], '^%d+') ~= ARGV[2] then
  return { 'OTHER' }
end
local is_behind = tonumber(stored[3] or '0') < tonumber(ARGV[5])
if is_behind then
  redis.call('HSET', KEYS[1], 'presence', ARGV[5])
end
if is_behind or (stored[2] or 'online') ~= ARGV[4] then
  redis.call('HSET', KEYS[1], 'p:' .. ARGV[1], ARGV[4])
  tell_presence(KEYS[1], ARGV[3], now_ms())
end
return { 'DONE' }
