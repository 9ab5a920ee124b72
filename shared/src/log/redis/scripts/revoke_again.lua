-- Numbers what the region itself said of a ban above what others have heard: a tail that was lost took that with it.
-- KEYS: as `revokes`. ARGV: a ban or its end, the number that others have, what it replaces, region, ms that the end of a ban is kept.
-- Checks: it is the region's latest word, with a smaller number, and said since by this server: one of before may have been followed by another
-- that was lost. Writes: the number; as `revokes`. Answers: nothing.
local is_end = string.sub(ARGV[1], 1, 6) == 'unban:'
local topic = is_end and ARGV[3] or ARGV[1]
local words, heard = words_of(topic), tonumber(ARGV[2])
local own = words[ARGV[4]]
if own and own[1] > 0 and own[1] < heard and (own[2] == 0) == is_end and is_said_here(topic) then
  local now = now_ms()
  local before = banned_until(words, now)
  own[1] = next_number(now, math.max(heard, known_of(words, ARGV[4])))
  keep_words(topic, words)
  redis.call('ZADD', KEYS[3], text(own[1]), topic)
  show_ban(now, topic, before, words, ARGV[5])
end
return {}
