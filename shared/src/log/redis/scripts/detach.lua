-- Removes a session of a player.
-- KEYS: at. ARGV: session, generation, channel. Checks: the session's generation is still its own. Writes: removes it and
-- what it is shown as, the number of the change and last_seen; publishes who is present. Answers: DONE | OTHER.
local seat = redis.call('HGET', KEYS[1], 's:' .. ARGV[1])
if not seat or string.match(seat, '^%d+') ~= ARGV[2] then
  return { 'OTHER' }
end
redis.call('HDEL', KEYS[1], 's:' .. ARGV[1], 'p:' .. ARGV[1])
tell_presence(KEYS[1], ARGV[3], now_ms(), true)
return { 'DONE' }
