-- What a region tells of, each once.
-- KEYS: latest, stream. ARGV: facts kept, then key, number and body of each.
-- Checks: each is later than what is known of it. Writes: the latest, and the stream.
-- Answers: what is known of each that is older, or has other words under the same number: key, number, body.
local other = {}
for i = 2, #ARGV, 3 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  local number, body = string.match(known or '0 ', '^(%d+) (.*)$')
  if tonumber(ARGV[i + 1]) > tonumber(number) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
    local before = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
    before = before[1] and before[1][1] or '0-0'
    local id = next_id(before, ARGV[i] .. ' ' .. ARGV[i + 1] .. ' ' .. ARGV[i + 2])
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], id, 'k', ARGV[i], 'n', ARGV[i + 1], 'b', ARGV[i + 2], 'p', before)
  elseif tonumber(ARGV[i + 1]) < tonumber(number) or body ~= ARGV[i + 2] then
    other[#other + 1] = ARGV[i]
    other[#other + 1] = number
    other[#other + 1] = body
  end
end
return other
