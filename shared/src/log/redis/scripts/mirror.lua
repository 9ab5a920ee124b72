-- Posts items of another region's feed to the feed of the same room, each once.
-- KEYS: head, feed, from, and the once key of each item. ARGV: region, rewinds, after, upto, channel, items kept, seconds
-- a once key lives, place known, then id and body of each item.
-- With more rewinds than are known, what is above `after` is new, if the place is the one known. `upto`: nothing up to there is missing.
-- Checks: they begin at or below the place reached, each is above it; its once key. Writes: the items, the head's last feed id, the once keys, the place
-- reached; publishes the items. Answers: the place reached.
local stored = redis.call('HGET', KEYS[3], ARGV[1]) or '0 0-0'
local rewinds, upto = string.match(stored, '^(%d+) (%S+)$')
rewinds = tonumber(rewinds)
local given = tonumber(ARGV[2])
if given < rewinds or given == rewinds and is_above(ARGV[3], upto) or given > rewinds and stored ~= ARGV[8] then
  return { stored }
elseif given > rewinds then
  upto = ARGV[3]
end
local head = redis.call('HMGET', KEYS[1], 'feed', 'last')
local last, as_of, posted = head[1] or '0-0', head[2] or '', false
-- Nearly always none is known: one question for all of them, and of those that this very page posts it is known.
local some_are_known = #KEYS > 3 and redis.call('EXISTS', unpack(KEYS, 4)) > 0
local posted_now = {}
for i = 4, #KEYS do
  local id, body = ARGV[9 + (i - 4) * 2], ARGV[10 + (i - 4) * 2]
  if is_above(id, upto) then
    upto = id
    if not posted_now[KEYS[i]] and not (some_are_known and redis.call('EXISTS', KEYS[i]) == 1) then
      posted_now[KEYS[i]] = true
      local record = '\1\4' .. short(last) .. short(as_of) .. body
      last, posted = next_id(last, KEYS[i]), true
      redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[6], last, 'i', record)
      redis.call('SET', KEYS[i], last, 'EX', ARGV[7])
      publish(ARGV[5], last, record)
    end
  end
end
if posted then
  -- How long items are kept is the nodes' to say: a post trims.
  redis.call('HSET', KEYS[1], 'format', '1', 'feed', last)
end
if is_above(ARGV[4], upto) then
  upto = ARGV[4]
end
stored = text(given) .. ' ' .. upto
redis.call('HSET', KEYS[3], 'format', '1', ARGV[1], stored)
return { stored }
