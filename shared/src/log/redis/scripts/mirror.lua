-- Posts items of another region's feed to the feed of the same room, each once.
-- KEYS: head, feed, from, and the once key of each item. ARGV: region, rewinds, channel, items kept, seconds a once key lives,
-- ms that items are kept or 0 (for ever), then id and body of each item.
-- Checks: each is above the place reached; its once key. Writes: the items, the head's last feed id, the once keys, the place
-- reached; publishes the items. Answers: the place reached.
local stored = redis.call('HGET', KEYS[3], ARGV[1]) or '0 0-0'
local rewinds, upto = string.match(stored, '^(%d+) (%S+)$')
rewinds = tonumber(rewinds)
local given = tonumber(ARGV[2])
if given < rewinds then
  return { stored }
elseif given > rewinds then
  upto = '0-0'
end
local function is_above(id)
  local ms, n = split_id(id)
  local upto_ms, upto_n = split_id(upto)
  return ms > upto_ms or ms == upto_ms and n > upto_n
end
local head = redis.call('HMGET', KEYS[1], 'feed', 'last')
local last, as_of, posted = head[1] or '0-0', head[2] or '', false
for i = 4, #KEYS do
  local id, body = ARGV[7 + (i - 4) * 2], ARGV[8 + (i - 4) * 2]
  if is_above(id) then
    upto = id
    if redis.call('EXISTS', KEYS[i]) == 0 then
      local record = '\1\4' .. short(last) .. short(as_of) .. body
      last, posted = redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[4], '*', 'i', record), true
      redis.call('SET', KEYS[i], last, 'EX', ARGV[5])
      publish(ARGV[3], last, record)
    end
  end
end
if posted then
  redis.call('HSET', KEYS[1], 'format', '1', 'feed', last)
  if ARGV[6] ~= '0' then
    redis.call('XTRIM', KEYS[2], 'MINID', '=', text(math.max(0, split_id(last) - ARGV[6])))
  end
end
stored = text(given) .. ' ' .. upto
redis.call('HSET', KEYS[3], 'format', '1', ARGV[1], stored)
return { stored }
