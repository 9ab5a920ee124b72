-- What was revoked after a time, oldest first; if nothing was, but before it, all: a tail was lost, and what came since may be below.
-- KEYS: revoked, revoked_until. ARGV: after_ms, count. Checks: nothing. Writes: nothing.
-- Answers: what, at_ms, until_ms of each.
local after = read_after(KEYS[1], ARGV[1])
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[2]))
local answer = {}
for i = 1, #found, 2 do
  answer[#answer + 1] = found[i]
  answer[#answer + 1] = text(tonumber(found[i + 1]))
  answer[#answer + 1] = text(tonumber(redis.call('ZSCORE', KEYS[2], found[i]) or '0'))
end
return answer
