-- Ends a call without an answer, unless it has one.
-- KEYS: calls, answers. ARGV: actor:n, t (timed out) | w (withdrawn).
-- Checks: the call has no answer. Writes: timed out, it stays known as that; withdrawn, it is forgotten.
-- Answers: ENDED | ANSWERED, callee, conversation, body.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then
  return { 'ENDED' }
end
local state, rest, callee, conversation = string.match(known, '^(%a) (%d+ %x+ (%S+) (%S+))$')
if state == 'a' then
  return { 'ANSWERED', callee, conversation, redis.call('HGET', KEYS[2], ARGV[1]) or '' }
elseif ARGV[2] == 'w' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], 't ' .. rest)
end
return { 'ENDED' }
