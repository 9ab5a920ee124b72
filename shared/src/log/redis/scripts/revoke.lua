-- Revokes a token or a player, bans a player or ends a ban.
-- KEYS: as `revokes`. ARGV: what, until_ms, 1 if until only grows, what it replaces or '', region, 1 if others are to hear of it.
-- Checks: until is in the future. Writes: as `revokes`; of a ban or its end the region's word, which counts instead of all that is known of
-- the other regions' words. Answers: OK, at_ms | OVER, time.
local now, what, till, replaced = now_ms(), ARGV[1], tonumber(ARGV[2]), ARGV[4]
if till <= now then
  return { 'OVER', text(now) }
end
forget_over(now, ARGV[5])
if replaced == '' then
  local at = revoke(now, what, till, ARGV[3] == '1', '')
  if ARGV[6] == '1' then
    redis.call('ZADD', KEYS[3], text(at), what)
  end
  return { 'OK', text(at) }
end
local is_end = string.sub(what, 1, 6) == 'unban:'
local topic = is_end and replaced or what
local words = words_of(topic)
local own = word_of(words, ARGV[5])
local at = next_number(now, math.max(own[1], known_of(words, ARGV[5])))
for region, word in pairs(words) do
  if region ~= ARGV[5] and word[1] > 0 then
    own[3][region] = math.max(own[3][region] or 0, word[1])
  end
end
if is_end then
  -- Others must hear of it as long as they have the ban.
  for _, said in ipairs({ replaced, what }) do
    till = math.max(till, tonumber(redis.call('ZSCORE', KEYS[2], said) or '0'))
  end
end
own[1], own[2] = at, is_end and 0 or till
keep_words(topic, words)
redis.call('HSET', KEYS[4], 'by:' .. topic, replication_id())
redis.call('ZADD', KEYS[3], text(at), topic)
revoke(now, what, till, false, replaced, at)
return { 'OK', text(at) }
