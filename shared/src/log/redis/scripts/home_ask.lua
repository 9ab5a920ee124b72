-- Which region has a player who was never seen here.
-- KEYS: home, asked. ARGV: player, players asked for at most. Checks: whether it is known, how many are asked for. Writes: the player is
-- asked for. Answers: the region, or ''.
local home = redis.call('GET', KEYS[1])
if home then
  return { home }
end
if redis.call('SCARD', KEYS[2]) < tonumber(ARGV[2]) then
  redis.call('SADD', KEYS[2], ARGV[1])
end
return { '' }
