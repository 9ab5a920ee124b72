-- What another region says of a player's presence.
-- KEYS: far. ARGV: region, number, presence, channel, record to publish. Checks: it is later than what is known.
-- Writes: it; tells the player's channel. Answers: nothing | what is known, if that is later: number, presence.
local number, presence = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '-1 ', '^(%S+) (.*)$')
if tonumber(ARGV[2]) > tonumber(number) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
  publish(ARGV[4], '', ARGV[5])
elseif tonumber(ARGV[2]) < tonumber(number) then
  return { number, presence }
end
return {}
