-- A region has heard how a jump ended.
-- KEYS: register, open of that region, open of the other. ARGV: name, ms that it is remembered when both have.
-- Checks: whether the other has. Writes: it is not open for that region; when the register goes. Answers: DONE.
redis.call('ZREM', KEYS[2], ARGV[1])
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return { 'DONE' }
