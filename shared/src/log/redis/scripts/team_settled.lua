-- The rosters of all teams that a player left have heard of it.
-- KEYS: at. ARGV: number. Checks: nothing was changed since. Writes: `before` of `team` is empty. Answers: DONE.
local stored = redis.call('HGET', KEYS[1], 'team') or ''
local number, now, before, issued = string.match(stored, '^(%d+) (%S+ %S+) (%S+)(.*)$')
if number == ARGV[1] and before ~= '#' then
  redis.call('HSET', KEYS[1], 'team', number .. ' ' .. now .. ' #' .. issued)
end
return { 'DONE' }
