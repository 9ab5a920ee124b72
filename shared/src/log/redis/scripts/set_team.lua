-- Changes which team a player is in.
-- KEYS: at. ARGV: channel, join | leave, team ('' with leave: whichever), role.
-- Checks: it is not so already. Writes: `team` = `number team role before` with a higher number, at least TIME; publishes
-- the same words. `before` is the last other team. Answers: the words stored afterwards.
local stored = redis.call('HGET', KEYS[1], 'team') or '0 # # #'
local number, team, role, before = string.match(stored, '^(%d+) (%S+) (%S+) (%S+)$')
local now_team, now_role = '#', '#'
if ARGV[2] == 'join' then
  now_team, now_role = ARGV[3], ARGV[4]
elseif ARGV[3] ~= '' and ARGV[3] ~= team then
  now_team, now_role = team, role
end
if tonumber(number) > 0 and now_team == team and now_role == role then
  return { stored }
end
if team ~= '#' and team ~= now_team then
  before = team
end
number = text(math.max(tonumber(number) + 1, now_ms()))
local words = table.concat({ number, now_team, now_role, before }, ' ')
redis.call('HSET', KEYS[1], 'format', '1', 'team', words)
publish(ARGV[1], '', '\1\7' .. short(number) .. short(now_team) .. short(now_role) .. short(before))
return { words }
