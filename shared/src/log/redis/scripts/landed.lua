-- Sets where a player is who came from another region, and the tickets of that arrival.
-- KEYS: at. ARGV: room, hop, channel, lowest actor number, ms a ticket is good, then session and hash of each ticket.
-- Checks: the hop is not below the stored one; the tickets of this arrival were not set before. Writes: room, hop, the tickets as
-- `hash until_ms used_by` (#: nobody), an actor number at least the given one; publishes who is present and where.
-- Answers: the hop stored afterwards, replication id.
local stored = redis.call('HMGET', KEYS[1], 'hop', 'landed', 'actor')
local hop, given, now = tonumber(stored[1] or '-1'), tonumber(ARGV[2]), now_ms()
if hop > given then
  return { stored[1], replication_id() }
end
if tonumber(stored[2] or '-1') < given then
  local record = redis.call('HGETALL', KEYS[1])
  for i = 1, #record, 2 do
    if string.sub(record[i], 1, 2) == 't:' then
      redis.call('HDEL', KEYS[1], record[i])
    end
  end
  for i = 6, #ARGV, 2 do
    redis.call('HSET', KEYS[1], 't:' .. ARGV[i], table.concat({ ARGV[i + 1], text(now + ARGV[5]), '#' }, ' '))
  end
  local actor = math.max(tonumber(stored[3] or '0'), tonumber(ARGV[4]))
  redis.call('HSET', KEYS[1], 'format', '1', 'landed', ARGV[2], 'actor', text(actor))
end
if hop < given then
  redis.call('HSET', KEYS[1], 'format', '1', 'room', ARGV[1], 'hop', ARGV[2])
  redis.call('HDEL', KEYS[1], 'region')
  tell_presence(KEYS[1], ARGV[3], now, false)
end
return { ARGV[2], replication_id() }
