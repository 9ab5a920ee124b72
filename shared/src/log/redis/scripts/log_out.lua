-- Ends a session for good: it is not attached again.
-- KEYS: at. ARGV: session, channel, kept_ms, kept at most.
-- Checks: nothing. Writes: removes it, and remembers it as `x:<session>` = ms until when; forgets those that are over,
-- and beyond the most that are kept the ones that would be over first; publishes a generation above its own, for a
-- connection that attached it meanwhile, and who is present. Answers: DONE.
local key, session, now = KEYS[1], ARGV[1], now_ms()
local ended, record, seat, floor = {}, redis.call('HGETALL', key), nil, '0'
for i = 1, #record, 2 do
  if record[i] == 's:' .. session then
    seat = tonumber(string.match(record[i + 1], '^%d+'))
  elseif record[i] == 'floor' then
    floor = record[i + 1]
  elseif string.sub(record[i], 1, 2) == 'x:' and record[i] ~= 'x:' .. session then
    ended[#ended + 1] = { field = record[i], over = tonumber(record[i + 1]) or 0 }
  end
end
table.sort(ended, function(a, b) return a.over < b.over end)
for i, one in ipairs(ended) do
  if one.over <= now or #ended - i + 1 >= tonumber(ARGV[4]) then
    redis.call('HDEL', key, one.field)
  end
end
redis.call('HDEL', key, 's:' .. session, 'p:' .. session)
redis.call('HSET', key, 'format', '1', 'x:' .. session, text(now + tonumber(ARGV[3])))
if seat then
  publish(ARGV[2], '', '\1\5' .. short(session) .. short(text(seat + 1)) .. short(floor))
  tell_presence(key, ARGV[2], now, true)
end
return { 'DONE' }
