-- Sets where a player is.
-- KEYS: at. ARGV: room, hop, channel, region or '' (this one). Checks: the hop is larger than the stored one. Writes: room, region and hop, the number of the
-- change of presence; publishes who is present and where. Answers: the hop stored afterwards, and THERE or OTHER: whether it is the place that was given.
local stored = redis.call('HMGET', KEYS[1], 'hop', 'room', 'region')
local hop = stored[1]
if hop and tonumber(hop) >= tonumber(ARGV[2]) then
  return { hop, stored[2] == ARGV[1] and (stored[3] or '') == ARGV[4] and 'THERE' or 'OTHER' }
end
redis.call('HSET', KEYS[1], 'format', '1', 'room', ARGV[1], 'hop', ARGV[2])
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[1], 'region')
else
  redis.call('HSET', KEYS[1], 'region', ARGV[4])
end
tell_presence(KEYS[1], ARGV[3], now_ms(), false)
return { ARGV[2], 'THERE' }
