-- Sets where a player is.
-- KEYS: at. ARGV: room, hop. Checks: the hop is larger than the stored one. Writes: room and hop.
-- Answers: the hop stored afterwards.
local hop = redis.call('HGET', KEYS[1], 'hop')
if hop and tonumber(hop) >= tonumber(ARGV[2]) then
  return { hop }
end
redis.call('HSET', KEYS[1], 'format', '1', 'room', ARGV[1], 'hop', ARGV[2])
return { ARGV[2] }
