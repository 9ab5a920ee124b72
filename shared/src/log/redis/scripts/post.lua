-- Posts one item to a room's feed, once.
-- KEYS: head, feed, once. ARGV: body, items kept, seconds the once key lives, channel,
-- ms that items are kept or 0 (for ever).
-- Checks: the once key. Writes: the item with prev and as_of, the head's last feed id, the once key; publishes the item.
-- Answers: NEW id | ALREADY id.
local done = redis.call('GET', KEYS[3])
if done then
  return { 'ALREADY', done }
end
local head = redis.call('HMGET', KEYS[1], 'feed', 'last')
local last = head[1] or '0-0'
local record = '\1\4' .. short(last) .. short(head[2] or '') .. ARGV[1]
local id = next_id(last, KEYS[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[2], id, 'i', record)
if ARGV[5] ~= '0' then
  redis.call('XTRIM', KEYS[2], 'MINID', '=', text(math.max(0, split_id(id) - ARGV[5])))
end
redis.call('HSET', KEYS[1], 'format', '1', 'feed', id)
redis.call('SET', KEYS[3], id, 'EX', ARGV[3])
publish(ARGV[4], id, record)
return { 'NEW', id }
