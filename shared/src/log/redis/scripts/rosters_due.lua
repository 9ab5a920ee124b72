-- What of rosters is to be done, in the order it came.
-- KEYS: due, words. ARGV: first, last. Checks: nothing. Writes: nothing. Answers: what, its turn and words of each.
local answer, found = {}, redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES')
for i = 1, #found, 2 do
  answer[#answer + 1] = found[i]
  answer[#answer + 1] = string.format('%.0f', found[i + 1])
  answer[#answer + 1] = redis.call('HGET', KEYS[2], 'w:' .. found[i]) or ''
end
return answer
