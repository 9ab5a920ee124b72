-- Takes, keeps or gives up the lead of a link.
-- KEYS: leader. ARGV: nexus, ms to have it or 0 (give it up). Checks: nobody else has it. Writes: the leader with its time.
-- Answers: YES | NO.
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
  return { 'NO' }
end
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
elseif leader then
  redis.call('DEL', KEYS[1])
end
return { 'YES' }
