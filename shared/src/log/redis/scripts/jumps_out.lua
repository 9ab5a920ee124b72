-- Jumps out of this region that are not over, the oldest first.
-- KEYS: out, open. ARGV: what redis-nexus calls itself, first, last. Checks: whether each is marked. Writes: the mark.
-- Answers: name, region, body, wants cancel or '', fate, mark of each.
local answer = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], ARGV[2], ARGV[3])) do
  local stored = redis.call('HMGET', KEYS[1], 't:' .. name, 'b:' .. name, 'c:' .. name, 'f:' .. name, 'h:' .. name)
  if stored[1] and stored[2] and stored[4] then
    if not stored[5] then
      redis.call('HSET', KEYS[1], 'h:' .. name, ARGV[1])
    end
    for _, word in ipairs({ name, stored[1], stored[2], stored[3] or '', stored[4], stored[5] or ARGV[1] }) do
      answer[#answer + 1] = word
    end
  end
end
return answer
