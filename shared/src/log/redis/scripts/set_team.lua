-- Changes which team a player is in.
-- KEYS: at. ARGV: channel, join | leave | token, team ('' with leave: whichever; '' with token: none), role, when the token was
-- issued, teams kept in `before` at most.
-- Checks: it is not so already; `before` has room; no younger token had a say. Writes: `team` =
-- `number team role before issued since` with a higher number, at least TIME; publishes the same. `before` is a list of
-- `team=role`, the last one last. Answers: the words stored afterwards.
local stored = redis.call('HGET', KEYS[1], 'team') or '0 # # #'
local number, team, role, before, issued, since = string.match(stored, '^(%d+) (%S+) (%S+) (%S+) ?(%d*) ?(%d*)$')
issued = issued == '' and '0' or issued
since = since == '' and number or since
local now_team, now_role, now_issued, left = team, role, issued, {}
for pair in string.gmatch(before, '[^,#]+') do
  left[#left + 1] = pair
end
if ARGV[2] == 'join' then
  now_team, now_role = ARGV[3], ARGV[4]
elseif ARGV[2] == 'leave' and (ARGV[3] == '' or ARGV[3] == team) then
  now_team, now_role = '#', '#'
elseif ARGV[2] == 'token' and tonumber(ARGV[5]) >= tonumber(issued) then
  now_issued = ARGV[5]
  now_team, now_role = '#', '#'
  if ARGV[3] ~= '' then
    now_team, now_role = ARGV[3], ARGV[4]
  end
end
local is_same = tonumber(number) > 0 and now_team == team and now_role == role
if is_same and now_issued == issued then
  return { stored }
end
local kept = {}
for _, pair in ipairs(left) do
  local of = string.match(pair, '^[^=]+')
  if of ~= now_team and of ~= team then
    kept[#kept + 1] = pair
  end
end
if team ~= '#' and team ~= now_team then
  kept[#kept + 1] = team .. '=' .. role
end
if #kept > tonumber(ARGV[6]) then
  return { stored }
end
before = #kept > 0 and table.concat(kept, ',') or '#'
if not is_same then
  number = text(math.max(tonumber(number) + 1, now_ms()))
end
if now_team ~= team then
  since = number
end
local words = table.concat({ number, now_team, now_role, before, now_issued, since }, ' ')
redis.call('HSET', KEYS[1], 'format', '1', 'team', words)
if not is_same then
  local texts = { '\1\7', short(number), short(now_team), short(now_role), short(now_issued), short(since) }
  for _, pair in ipairs(kept) do
    texts[#texts + 1] = short(pair)
  end
  publish(ARGV[1], '', table.concat(texts))
end
return { words }
