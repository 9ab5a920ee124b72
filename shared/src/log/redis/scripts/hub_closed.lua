-- The last jump of each player from or to a region that arrived and that its link closed, closed last first.
-- KEYS: closed of that region by when, and by player. ARGV: first, last. Checks: nothing. Writes: nothing.
-- Answers: player, `hop, region left, the other, sector there` of each.
local answer = {}
for _, player in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'REV')) do
  local led = redis.call('HGET', KEYS[2], 'p:' .. player)
  if led then
    answer[#answer + 1] = player
    answer[#answer + 1] = led
  end
end
return answer
