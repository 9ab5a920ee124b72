-- Says which region has the log of a team's room.
-- KEYS: head. ARGV: region. Checks: there is no log here, and nothing was said before. Writes: the head's home.
-- Answers: the home, or '' where the room has a log of its own.
local head = redis.call('HMGET', KEYS[1], 'last', 'home')
if head[1] then
  return { '' }
elseif not head[2] then
  redis.call('HSET', KEYS[1], 'format', '1', 'home', ARGV[1])
end
return { head[2] or ARGV[1] }
