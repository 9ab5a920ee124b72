-- Something of a roster is to be done by this region's nodes.
-- KEYS: due, words, known. ARGV: what, its number ('': it has none), words.
-- Checks: the number is later than what is known. Writes: what is due, after all that is; the number. Answers: nothing.
if ARGV[2] ~= '' then
  if tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0') >= tonumber(ARGV[2]) then
    return {}
  end
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
end
local turn = string.format('%.0f', tonumber(redis.call('HGET', KEYS[2], 'turns') or '0') + 1)
redis.call('HSET', KEYS[2], 'format', '1', 'turns', turn, 'w:' .. ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[1], turn, ARGV[1])
return {}
