-- What was revoked in this region after a time, oldest first.
-- KEYS: revoked, revoked_until, revoked_from. ARGV: after_ms, count. Checks: whether it came from elsewhere. Writes: nothing.
-- Answers: up to when that is, then what, at_ms, until_ms of each.
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[2]))
local answer = { ARGV[1] }
for i = 1, #found, 2 do
  answer[1] = text(tonumber(found[i + 1]))
  if redis.call('SISMEMBER', KEYS[3], found[i]) == 0 then
    answer[#answer + 1] = found[i]
    answer[#answer + 1] = answer[1]
    answer[#answer + 1] = text(tonumber(redis.call('ZSCORE', KEYS[2], found[i]) or '0'))
  end
end
return answer
