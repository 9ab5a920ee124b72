-- Sets where a player is.
-- KEYS: at. ARGV: room, hop, channel, region or '' (this one). Checks: the hop is larger than the stored one. Writes: room, region and hop, the number of the
-- change of presence; publishes who is present and where. Answers: the hop stored afterwards.
local hop = redis.call('HGET', KEYS[1], 'hop')
if hop and tonumber(hop) >= tonumber(ARGV[2]) then
  return { hop }
end
redis.call('HSET', KEYS[1], 'format', '1', 'room', ARGV[1], 'hop', ARGV[2])
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[1], 'region')
else
  redis.call('HSET', KEYS[1], 'region', ARGV[4])
end
tell_presence(KEYS[1], ARGV[3], now_ms(), false)
return { ARGV[2] }
