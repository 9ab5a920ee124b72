-- Which region has a player.
-- KEYS: home. ARGV: region. Checks: whether it is known. Writes: this region, if not. Answers: the region.
redis.call('SETNX', KEYS[1], ARGV[1])
return { redis.call('GET', KEYS[1]) }
