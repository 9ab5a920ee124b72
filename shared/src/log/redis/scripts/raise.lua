-- Numbers a player's presence above what others have heard: a tail that was lost took the number with it.
-- KEYS: at. ARGV: the number that others have, channel. Checks: there is a player, with no larger number. Writes: the number;
-- tells the player's channel. Answers: nothing.
local number = tonumber(redis.call('HGET', KEYS[1], 'presence') or '0')
if redis.call('HEXISTS', KEYS[1], 'room') == 1 and number <= tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'presence', ARGV[1])
  tell_presence(KEYS[1], ARGV[2], now_ms(), false)
end
return {}
