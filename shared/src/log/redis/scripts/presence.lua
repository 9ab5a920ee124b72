-- Shared by the scripts that change who of a player's sessions is present, or where: numbers the change in `presence`, keeps
-- `last_seen` when the last session left, and tells the player's channel (stored::present_record).
local function tell_presence(key, channel, now, has_left)
  local number, last_seen, room, away, living, shown, record = 0, '0', '#', false, {}, {}, redis.call('HGETALL', key)
  for i = 1, #record, 2 do
    local mark, name, value = string.sub(record[i], 1, 2), string.sub(record[i], 3), record[i + 1]
    if record[i] == 'presence' then
      number = tonumber(value)
    elseif record[i] == 'last_seen' then
      last_seen = value
    elseif record[i] == 'room' then
      room = value
    elseif record[i] == 'region' then
      away = true
    elseif mark == 's:' then
      living[#living + 1] = { name, string.match(value, '^%d+ (%S+)') }
    elseif mark == 'p:' then
      shown[name] = value
    end
  end
  number = text(math.max(number + 1, now))
  if #living == 0 and has_left then
    last_seen = text(now)
    redis.call('HSET', key, 'last_seen', last_seen)
  end
  redis.call('HSET', key, 'presence', number)
  local texts = { '\1\6', short(number), short(last_seen), short(away and '#' or room) }
  for _, session in ipairs(living) do
    texts[#texts + 1] = short(session[2])
    texts[#texts + 1] = short(shown[session[1]] or 'online')
  end
  publish(channel, '', table.concat(texts))
end

