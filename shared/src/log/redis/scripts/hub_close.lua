-- A region has heard how a jump ended.
-- KEYS: register, open of that region, open of the other, closed of that region by when, and by player. ARGV: name, player, hop, region, ms
-- that it is remembered. Checks: that it is over; whether the other has; whether a later one of the player was closed.
-- Writes: it is not open for that region; when the register goes; that it is the player's last, if it arrived; drops what was
-- closed for so long. Answers: DONE.
local stored, now = redis.call('HMGET', KEYS[1], 'state', 'from', 'to', 'sector'), now_ms()
if stored[1] ~= 'arrived' and stored[1] ~= 'cancelled' then
  return { 'DONE' }
end
redis.call('ZREM', KEYS[2], ARGV[1])
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) or stored[1] == 'cancelled' and stored[2] == ARGV[4] then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
for _, player in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', text(now - ARGV[5]), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[4], player)
  redis.call('HDEL', KEYS[5], 'p:' .. player)
end
if stored[1] == 'arrived' then
  local known = string.match(redis.call('HGET', KEYS[5], 'p:' .. ARGV[2]) or '', '^(%d+) ')
  if not known or tonumber(known) <= tonumber(ARGV[3]) then
    local led = table.concat({ ARGV[3], stored[2], stored[3], stored[4] }, ' ')
    redis.call('HSET', KEYS[5], 'format', '1', 'p:' .. ARGV[2], led)
    redis.call('ZADD', KEYS[4], text(now), ARGV[2])
  end
end
return { 'DONE' }
