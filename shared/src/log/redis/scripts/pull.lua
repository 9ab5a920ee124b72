-- What redis-nexus has of a source after a place.
-- KEYS: items, place. ARGV: rewinds, id, count. Checks: how often the source was rewound since. Writes: nothing.
-- Answers: rewinds, id after which that is, id before the first item or '', then id and body of each item.
local rewinds = tonumber(redis.call('HGET', KEYS[2], 'rewinds') or '0')
local after = ARGV[2]
for n = tonumber(ARGV[1]) + 1, rewinds do
  local to = redis.call('HGET', KEYS[2], 'to:' .. text(n)) or '0-0'
  local ms, seq = split_id(to)
  local after_ms, after_seq = split_id(after)
  if ms < after_ms or ms == after_ms and seq < after_seq then
    after = to
  end
end
local items = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[3])
local answer = { text(rewinds), after, items[1] and items[1][2][4] or '' }
for _, item in ipairs(items) do
  answer[#answer + 1] = item[1]
  answer[#answer + 1] = item[2][2]
end
return answer
