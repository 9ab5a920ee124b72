-- What another region says of a player's presence.
-- KEYS: far. ARGV: region, number, presence, channel, record to publish. Checks: it is later than what is known.
-- Writes: it; tells the player's channel. Answers: nothing.
local known = redis.call('HGET', KEYS[1], ARGV[1])
local number = known and string.match(known, '^(%d+) ') or '-1'
if tonumber(ARGV[2]) > tonumber(number) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
  publish(ARGV[4], '', ARGV[5])
end
return {}
