-- Seats a session of a player.
-- KEYS: at. ARGV: session, incarnation, sessions at most, start sector, new actor 0|1, channel.
-- Checks: none; the last executed wins. Writes: a higher generation for the session, the record of a new player, a
-- higher actor number if asked; evicts the lowest generations beyond the limit and keeps the floor; publishes.
-- Both numbers are at least TIME: those given before a tail was lost are not given again.
-- Answers: generation, floor, actor or '', time, then the record's fields and values.
local key, session = KEYS[1], ARGV[1]
local now = now_ms()
local generation = math.max(tonumber(redis.call('HGET', key, 'generation') or '0') + 1, now)
redis.call('HSET', key, 'format', '1', 'generation', text(generation), 's:' .. session, text(generation) .. ' ' .. ARGV[2])
redis.call('HSETNX', key, 'room', ARGV[4])
redis.call('HSETNX', key, 'hop', '0')

local seats, record = {}, redis.call('HGETALL', key)
for i = 1, #record, 2 do
  if string.sub(record[i], 1, 2) == 's:' then
    seats[#seats + 1] = { field = record[i], generation = tonumber(string.match(record[i + 1], '^%d+')) or 0 }
  end
end
table.sort(seats, function(a, b) return a.generation < b.generation end)
local floor = tonumber(redis.call('HGET', key, 'floor') or '0')
for i = 1, #seats - math.max(1, tonumber(ARGV[3])) do
  redis.call('HDEL', key, seats[i].field)
  floor = math.max(floor, seats[i].generation + 1)
end
redis.call('HSET', key, 'floor', text(floor))

local actor = ''
if ARGV[5] == '1' then
  actor = text(math.max(tonumber(redis.call('HGET', key, 'actor') or '0') + 1, now))
  redis.call('HSET', key, 'actor', actor)
end
publish(ARGV[6], '', '\1\5' .. short(session) .. short(text(generation)) .. short(text(floor)))
return { text(generation), text(floor), actor, text(now), redis.call('HGETALL', key) }
