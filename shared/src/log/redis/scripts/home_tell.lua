-- Tells a region which one has a player.
-- KEYS: home, asked. ARGV: player, region, ms that it is remembered. Checks: nothing. Writes: the region; the player is not asked
-- for any more. Answers: DONE.
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SREM', KEYS[2], ARGV[1])
return { 'DONE' }
