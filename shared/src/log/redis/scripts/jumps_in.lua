-- Jumps into this region that were not dealt with, the oldest first.
-- KEYS: in, coming. ARGV: first, last. Checks: nothing. Writes: nothing. Answers: name, region, body of each.
local answer = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2])) do
  local stored = redis.call('HMGET', KEYS[1], 'r:' .. name, 'b:' .. name)
  if stored[1] and stored[2] then
    answer[#answer + 1] = name
    answer[#answer + 1] = stored[1]
    answer[#answer + 1] = stored[2]
  end
end
return answer
