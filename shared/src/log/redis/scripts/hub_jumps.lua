-- Registers that a region's link has not closed, the oldest first. Redis-nexus is one slot: registers need not be in KEYS.
-- KEYS: open. ARGV: region, first, last, how a register's key begins. Checks: nothing. Writes: what has no register any more is not
-- open. Answers: name, region left, the other, sector there, body or '', state, whether redis-nexus is called as then (1 or 0) of each.
local answer, called = {}, replication_id()
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3])) do
  local stored = redis.call('HMGET', ARGV[4] .. name, 'from', 'to', 'sector', 'state', 'hub')
  if stored[1] then
    local wanted = stored[2] == ARGV[1] and stored[4] ~= 'cancelled'
    local body = wanted and redis.call('HGET', ARGV[4] .. name, 'body') or ''
    local sure = stored[5] == called and '1' or '0'
    for _, word in ipairs({ name, stored[1], stored[2], stored[3], body, stored[4], sure }) do
      answer[#answer + 1] = word
    end
  else
    redis.call('ZREM', KEYS[1], name)
  end
end
return answer
