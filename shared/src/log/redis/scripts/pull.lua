-- What redis-nexus has of a source after a place.
-- KEYS: items, place. ARGV: rewinds, id, count. Checks: how often the source was rewound since. Writes: nothing.
-- Answers: rewinds, id after which that is, id before the first item (without any, of the last that there was, if it is later) or '', then id
-- and body of each item.
local stored = redis.call('HMGET', KEYS[2], 'rewinds', 'last')
local rewinds, last, after = tonumber(stored[1] or '0'), stored[2] or '0-0', ARGV[2]
for n = tonumber(ARGV[1]) + 1, rewinds do
  local to = redis.call('HGET', KEYS[2], 'to:' .. text(n)) or '0-0'
  if is_above(after, to) then
    after = to
  end
end
local items = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[3])
local answer = { text(rewinds), after, items[1] and items[1][2][4] or is_above(last, after) and last or '' }
for _, item in ipairs(items) do
  answer[#answer + 1] = item[1]
  answer[#answer + 1] = item[2][2]
end
return answer
