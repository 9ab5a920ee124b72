-- Asks all rooms of this region to compare whom they have with `at`.
-- KEYS: compares. ARGV: none. Checks: nothing. Writes: a number above the last, and above one that a lost tail took. Answers: DONE.
redis.call('SET', KEYS[1], text(math.max(tonumber(redis.call('GET', KEYS[1]) or '0') + 1, now_ms())))
return { 'DONE' }
