-- Which region has a player.
-- KEYS: home. ARGV: region that asks, or ''. Checks: whether it is known. Writes: this region, if not. Answers: the region, or ''.
if ARGV[1] ~= '' then
  redis.call('SETNX', KEYS[1], ARGV[1])
end
return { redis.call('GET', KEYS[1]) or '' }
