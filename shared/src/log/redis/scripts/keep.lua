-- Keeps how far a link has come, if the server is still the one that has what was carried.
-- KEYS: hash. ARGV: field, value or '' (only asks), replication id. Checks: the replication id. Writes: the field.
-- Answers: KEPT | OTHER, replication id, the field's value or ''.
local found = replication_id()
if ARGV[2] ~= '' and found == ARGV[3] then
  redis.call('HSET', KEYS[1], 'format', '1', ARGV[1], ARGV[2])
end
return { found == ARGV[3] and 'KEPT' or 'OTHER', found, redis.call('HGET', KEYS[1], ARGV[1]) or '' }
