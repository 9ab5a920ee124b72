-- Seats a session of a player.
-- KEYS: at. ARGV: session, incarnation, sessions at most, start sector, new actor 0|1, channel, counter,
-- generation it replaces or ''.
-- Checks: the counter (the same was executed, or the incarnation entered the session with a later one: that one's answer); what it
-- replaces was not superseded; the session was not logged out. Writes: a higher generation for the session, the record of a new player, a higher actor number if
-- asked; evicts the lowest generations beyond the limit and keeps the floor; publishes it and who is present. Both numbers are at least TIME:
-- those given before a tail was lost are not given again.
-- Answers: OK, generation, floor, actor or '', time, then the record's fields and values | SUPERSEDED | ENDED.
local key, session = KEYS[1], ARGV[1]
local now = now_ms()
local stored = redis.call('HMGET', key, 'generation', 'actor', 'floor', 's:' .. session, 'x:' .. session)
if stored[5] and tonumber(stored[5]) > now then
  return { 'ENDED' }
end
local floor = tonumber(stored[3] or '0')
-- A session is stored as `generation incarnation counter actor-or-0 entered`. Who replaces goes on as what they were: only those who
-- enter anew, with a connection of their own, come one after the other by their counters.
local seat = { string.match(stored[4] or '', '^(%d+) (%S+) (%d+) (%d+) ?(%d*)$') }
local asked, enters, entered = tonumber(ARGV[7]), ARGV[8] == '', 0
if seat[2] == ARGV[2] then
  entered = tonumber(seat[5]) or tonumber(seat[3])
end
if seat[2] == ARGV[2] and (tonumber(seat[3]) == asked or enters and entered >= asked) then
  local actor = seat[4] == '0' and '' or seat[4]
  return { 'OK', seat[1], text(floor), actor, text(now), redis.call('HGETALL', key) }
end
if ARGV[8] ~= '' and (seat[1] and tonumber(seat[1]) or floor) > tonumber(ARGV[8]) then
  return { 'SUPERSEDED' }
end
local generation = math.max(tonumber(stored[1] or '0') + 1, now)
local actor = ''
if ARGV[5] == '1' then
  actor = text(math.max(tonumber(stored[2] or '0') + 1, now))
  redis.call('HSET', key, 'actor', actor)
end
redis.call('HSET', key, 'format', '1', 'generation', text(generation), 's:' .. session,
  table.concat({ text(generation), ARGV[2], ARGV[7], actor == '' and '0' or actor, enters and ARGV[7] or text(entered) }, ' '))
redis.call('HDEL', key, 'p:' .. session)
redis.call('HSETNX', key, 'room', ARGV[4])
redis.call('HSETNX', key, 'hop', '0')

local seats, record = {}, redis.call('HGETALL', key)
for i = 1, #record, 2 do
  if string.sub(record[i], 1, 2) == 's:' then
    seats[#seats + 1] = { field = record[i], generation = tonumber(string.match(record[i + 1], '^%d+')) or 0 }
  end
end
table.sort(seats, function(a, b) return a.generation < b.generation end)
for i = 1, #seats - math.max(1, tonumber(ARGV[3])) do
  redis.call('HDEL', key, seats[i].field, 'p:' .. string.sub(seats[i].field, 3))
  floor = math.max(floor, seats[i].generation + 1)
end
redis.call('HSET', key, 'floor', text(floor))
publish(ARGV[6], '', '\1\5' .. short(session) .. short(text(generation)) .. short(text(floor)))
tell_presence(key, ARGV[6], now)
return { 'OK', text(generation), text(floor), actor, text(now), redis.call('HGETALL', key) }
