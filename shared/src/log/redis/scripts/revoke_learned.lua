-- What another region revoked; or this one, of a ban, before it lost that with a tail.
-- KEYS: as `revokes`. ARGV: what, until_ms, 1 if until only grows, what it replaces or '', region, its number there, about what it says one
-- thing after another or '', ms that the end of a ban is kept, this region, then of a ban or its end: region and number of what was known there.
-- Checks: it is later than what that region said of it before; a word of this region: its own was not said since; a token: it was not revoked
-- here for as long; a token or a player: it is not over. Writes: as `revokes`; the number, or the word. Answers: nothing.
local now, what, till, replaced = now_ms(), ARGV[1], tonumber(ARGV[2]), ARGV[4]
local from, number, topic = ARGV[5], tonumber(ARGV[6]), ARGV[7]
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
  if from == ARGV[9] or is_known or number <= known or till <= now then
    return {}
  end
  forget_over(now, ARGV[9])
  revoke(now, what, till, ARGV[3] == '1', '')
  if topic ~= '' then
    redis.call('HSET', KEYS[4], 'format', '1', topic, said .. from .. ' ' .. ARGV[6])
  end
  return {}
end
local words = words_of(topic)
local word = word_of(words, from)
if number <= word[1] or from == ARGV[9] and is_said_here(topic) then
  return {}
end
forget_over(now, ARGV[9])
local before = banned_until(words, now)
word[1], word[2], word[3] = number, what == topic and till or 0, {}
for i = 10, #ARGV, 2 do
  word[3][ARGV[i]] = tonumber(ARGV[i + 1])
end
keep_words(topic, words)
if from == ARGV[9] then
  redis.call('ZADD', KEYS[3], text(number), topic)
end
show_ban(now, topic, before, words, ARGV[8])
return {}
