-- What a region tells of, each once.
-- KEYS: latest, stream. ARGV: facts kept, then key, number, body of each, and the key of what it replaces or ''.
-- Checks: each is later than what is known of it. Writes: the latest, and the stream.
-- Answers: what is known of each that is older, or has other words under the same number: key, number, body.
local other = {}
local function known_as(key)
  local number, body = string.match(redis.call('HGET', KEYS[1], key) or '0 ', '^(%d+) (.*)$')
  return { key, number, body }
end
for i = 2, #ARGV, 4 do
  local key, number, body, replaces = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local known = known_as(key)
  if replaces ~= '' then
    local replaced = known_as(replaces)
    if tonumber(replaced[2]) > tonumber(known[2]) then
      known = replaced
    end
  end
  if tonumber(number) > tonumber(known[2]) then
    redis.call('HSET', KEYS[1], key, number .. ' ' .. body)
    if replaces ~= '' then
      redis.call('HDEL', KEYS[1], replaces)
    end
    local before = last_of(KEYS[2])
    local id = next_id(before, key .. ' ' .. number .. ' ' .. body)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], id, 'k', key, 'n', number, 'b', body, 'p', before)
  elseif tonumber(number) < tonumber(known[2]) or known[1] ~= key or known[3] ~= body then
    for _, word in ipairs(known) do
      other[#other + 1] = word
    end
  end
end
return other
