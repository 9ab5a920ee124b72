-- What was revoked in this region itself after a time, oldest first; if nothing was, but before it, all: a tail was lost.
-- KEYS: as `revokes`. ARGV: after_ms, count, region. Checks: nothing. Writes: nothing.
-- Answers: what, at_ms, until_ms of each, and of a ban or its end, as `region number` of each, what was known of other regions' words.
local after = read_after(KEYS[3], ARGV[1])
local found = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[2]))
local answer = {}
for i = 1, #found, 2 do
  local what, known, at = found[i], {}, text(tonumber(found[i + 1]))
  local till = tonumber(redis.call('ZSCORE', KEYS[2], what) or '0')
  if string.sub(what, 1, 4) == 'ban:' then
    local own = word_of(words_of(what), ARGV[3])
    till, known = own[2], knew_of(own, ' ')
    if till == 0 then
      what = 'un' .. what
      till = tonumber(redis.call('ZSCORE', KEYS[2], what) or '0')
    end
  end
  for _, word in ipairs({ what, at, text(till), table.concat(known, ' ') }) do
    answer[#answer + 1] = word
  end
end
return answer
