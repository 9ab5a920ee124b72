-- Players whose home a region asks for.
-- KEYS: asked. ARGV: at most. Checks: nothing. Writes: nothing. Answers: some of them.
return redis.call('SRANDMEMBER', KEYS[1], ARGV[1])
