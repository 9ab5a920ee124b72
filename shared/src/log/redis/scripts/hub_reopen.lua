-- A region's link has something to do for a jump again.
-- KEYS: register, open of that region. ARGV: name. Checks: that there is a register. Writes: it is open, and stays. Answers: DONE.
if redis.call('HGET', KEYS[1], 'state') then
  redis.call('PERSIST', KEYS[1])
  redis.call('ZADD', KEYS[2], 'NX', text(now_ms()), ARGV[1])
end
return { 'DONE' }
