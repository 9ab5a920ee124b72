-- Shared by the scripts of copies of logs: head, log and snap of a room that another region owns.
-- The head has `format`, `last`, `owner` (nobody), `ring`, `lineage` as any other, `snapshot` and `begun` besides.
local function standing(head)
  local now = redis.call('HMGET', head, 'begun', 'last', 'lineage', 'snapshot')
  if not now[2] then
    return {}
  end
  return { now[1], now[2], now[3], now[4] }
end

-- Ids and records begin at `from` of ARGV. A claim (its second byte says so) ends the epoch of what was last.
local function copy_entries(head, log, channel, last, lineage, from)
  for i = from, #ARGV, 2 do
    redis.call('XADD', log, ARGV[i], 'e', ARGV[i + 1])
    if string.byte(ARGV[i + 1], 2) == 1 and last ~= '0-0' then
      lineage = lineage_with(lineage, last)
    end
    last = ARGV[i]
  end
  redis.call('HSET', head, 'last', last, 'lineage', lineage)
  if channel ~= '' then
    for i = from, #ARGV, 2 do
      publish(channel, ARGV[i], ARGV[i + 1])
    end
  end
end

-- In redis-nexus alone, who waits is told.
local function tell(head, sources, news, source, kept)
  if sources then
    redis.call('SADD', sources, source)
    local before = last_of(news)
    local id = next_id(before, source .. ' ' .. table.concat(redis.call('HMGET', head, 'begun', 'last'), ' '))
    redis.call('XADD', news, 'MAXLEN', '~', kept, id, 's', source, 'p', before)
  end
end
