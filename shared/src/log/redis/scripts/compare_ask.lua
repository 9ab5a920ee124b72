-- Asks all rooms of this region to compare whom they have with `at`.
-- KEYS: compares. ARGV: none. Checks: nothing. Writes: that it was asked once more. Answers: DONE.
redis.call('SET', KEYS[1], text(tonumber(redis.call('GET', KEYS[1]) or '0') + 1))
return { 'DONE' }
