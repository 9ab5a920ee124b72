-- Removes a session of a player.
-- KEYS: at. ARGV: session, generation. Checks: the session's generation is still its own. Writes: removes it.
-- Answers: DONE | OTHER.
local seat = redis.call('HGET', KEYS[1], 's:' .. ARGV[1])
if not seat or string.match(seat, '^%d+') ~= ARGV[2] then
  return { 'OTHER' }
end
redis.call('HDEL', KEYS[1], 's:' .. ARGV[1])
return { 'DONE' }
