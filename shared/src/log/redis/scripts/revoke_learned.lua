-- What another region revoked.
-- KEYS: as `revokes`. ARGV: what, until_ms, 1 if until only grows, what it replaces or '', region, its number there, about what it says one
-- thing after another or '', ms that the end of a ban is kept, this region, then of a ban or its end: region and number of what was known there.
-- Checks: it is later than what that region said of it before; a token: it was not revoked here for as long; it is not over.
-- Writes: the number; as `revokes`. Answers: nothing.
local now, what, till, replaced = now_ms(), ARGV[1], tonumber(ARGV[2]), ARGV[4]
local from, number, topic = ARGV[5], tonumber(ARGV[6]), ARGV[7]
forget_over(now, ARGV[9])
if replaced == '' then
  local known, said = 0, ''
  for region, heard in string.gmatch(redis.call('HGET', KEYS[4], topic) or '', '(%S+) (%d+)') do
    if region == from then
      known = tonumber(heard)
    else
      said = said .. region .. ' ' .. heard .. ' '
    end
  end
  local is_known = topic == '' and tonumber(redis.call('ZSCORE', KEYS[2], what) or '0') >= till
  if is_known or number <= known or till <= now then
    return {}
  end
  revoke(now, what, till, ARGV[3] == '1', '')
  if topic ~= '' then
    redis.call('HSET', KEYS[4], 'format', '1', topic, said .. from .. ' ' .. ARGV[6])
  end
  return {}
end
local words = words_of(topic)
local before, word = banned_until(words, now), word_of(words, from)
if number <= word[1] then
  return {}
end
word[1], word[2] = number, what == topic and till or 0
for i = 10, #ARGV, 2 do
  local other = word_of(words, ARGV[i])
  other[3] = math.max(other[3], tonumber(ARGV[i + 1]))
end
keep_words(topic, words)
local after = banned_until(words, now)
if after > 0 and after ~= before then
  revoke(now, topic, after, false, 'un' .. topic)
elseif after == 0 and before > 0 then
  revoke(now, 'un' .. topic, math.max(before, now + ARGV[8]), false, topic)
end
return {}
