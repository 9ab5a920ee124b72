-- First contact of a node with its region.
-- KEYS: meta. ARGV: region, format.
-- Checks: nothing, or what an earlier node wrote. Writes: region and format, once.
-- Answers: OK | REGION found | FORMAT found.
local meta = redis.call('HMGET', KEYS[1], 'region', 'format')
if not meta[1] and not meta[2] then
  redis.call('HSET', KEYS[1], 'region', ARGV[1], 'format', ARGV[2])
  return { 'OK' }
elseif meta[2] ~= ARGV[2] then
  return { 'FORMAT', meta[2] or '' }
elseif meta[1] ~= ARGV[1] then
  return { 'REGION', meta[1] or '' }
end
return { 'OK' }
