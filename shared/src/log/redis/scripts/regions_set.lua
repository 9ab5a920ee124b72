-- Names the regions that links join to this one.
-- KEYS: regions. ARGV: region and address (or '') of each. Checks: nothing. Writes: them, instead of those before. Answers: DONE.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'format', '1')
for i = 1, #ARGV, 2 do
  redis.call('HSET', KEYS[1], 'r:' .. ARGV[i], ARGV[i + 1])
end
return { 'DONE' }
