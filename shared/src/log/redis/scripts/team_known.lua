-- Puts back which team a player is in, as somebody knows it was.
-- KEYS: at. ARGV: channel, its number, the words of `team`, the record that tells of it.
-- Checks: a lower number is stored, or none. Writes: `team`; publishes the record. Answers: the words stored afterwards.
local stored = redis.call('HGET', KEYS[1], 'team') or '0 # # # 0 0'
local number = string.match(stored, '^%d+')
if tonumber(number) >= tonumber(ARGV[2]) then
  return { stored }
end
redis.call('HSET', KEYS[1], 'format', '1', 'team', ARGV[3])
publish(ARGV[1], '', ARGV[4])
return { ARGV[3] }
