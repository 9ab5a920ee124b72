-- Asks the home of a team for a change of its roster.
-- KEYS: asks. ARGV: team, wish, name of the ask, a number to be above, ms it is kept.
-- Checks: it is not the ask of this name. Writes: `t:<team>` = `number name wish` with a higher number, at least TIME; `last`.
-- Answers: the number.
local known, name = string.match(redis.call('HGET', KEYS[1], 't:' .. ARGV[1]) or '', '^(%d+) (%S+) ')
if name == ARGV[3] then
  return { known }
end
local last = math.max(tonumber(redis.call('HGET', KEYS[1], 'last') or '0'), tonumber(ARGV[4]))
local number = text(math.max(last + 1, now_ms()))
redis.call('HSET', KEYS[1], 'format', '1', 'last', number, 't:' .. ARGV[1], number .. ' ' .. ARGV[3] .. ' ' .. ARGV[2])
redis.call('PEXPIREAT', KEYS[1], text(now_ms() + ARGV[5]))
return { number }
