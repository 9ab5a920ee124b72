-- A nexus is there.
-- KEYS: bridge, marks. ARGV: ms until a new bridge begins, ms that marks are kept, ms within which that is said again.
-- Checks: nothing. Writes: that it was there, when the bridge began; forgets old marks.
-- Answers: when it began, place in the news and of which redis-nexus, replication id.
local now = now_ms()
local stored = redis.call('HMGET', KEYS[1], 'began', 'news')
local began, news = stored[1], stored[2] or '0-0 '
if not began then
  began = text(now + ARGV[1])
elseif now + ARGV[1] < tonumber(began) then
  -- The clock has stepped back, perhaps just after this was said last.
  began = text(math.max(now - ARGV[3], 0))
end
if began ~= stored[1] then
  redis.call('HSET', KEYS[1], 'format', '1', 'began', began)
end
redis.call('HSET', KEYS[1], 'seen', text(now))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - ARGV[2]))
return { began, news, replication_id() }
