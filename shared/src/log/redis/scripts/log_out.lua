-- Ends a session for good: it is not attached again.
-- KEYS: at. ARGV: session, generation, kept_ms, kept at most.
-- Checks: the session has no newer generation. Writes: removes it, and remembers it as `x:<session>` = ms until when;
-- forgets those that are over, and beyond the most that are kept the ones that would be over first.
-- Answers: DONE | OTHER.
local key, session, now = KEYS[1], ARGV[1], now_ms()
local ended, record, seat = {}, redis.call('HGETALL', key), nil
for i = 1, #record, 2 do
  if record[i] == 's:' .. session then
    seat = tonumber(string.match(record[i + 1], '^%d+'))
  elseif string.sub(record[i], 1, 2) == 'x:' and record[i] ~= 'x:' .. session then
    ended[#ended + 1] = { field = record[i], over = tonumber(record[i + 1]) or 0 }
  end
end
if seat and seat > tonumber(ARGV[2]) then
  return { 'OTHER' }
end
table.sort(ended, function(a, b) return a.over < b.over end)
for i, one in ipairs(ended) do
  if one.over <= now or #ended - i + 1 >= tonumber(ARGV[4]) then
    redis.call('HDEL', key, one.field)
  end
end
redis.call('HDEL', key, 's:' .. session)
redis.call('HSET', key, 'format', '1', 'x:' .. session, text(now + tonumber(ARGV[3])))
return { 'DONE' }
