-- Answers an open call.
-- KEYS: calls, answers, talks. ARGV: actor:n, secret, body, channel, actor, n, answers_kept_ms, conversation_kept_ms,
-- conversations kept at most.
-- Checks: the call is known under this secret and open. Writes: its answer, and its conversation, which may be gone on with
-- from now on; publishes the answer.
-- Answers: OK | ALREADY | TOO_LATE | UNKNOWN.
local now = now_ms()
local known = redis.call('HGET', KEYS[1], ARGV[1])
local state, deadline, secret, callee, conversation = string.match(known or '', '^(%a) (%d+) (%x+) (%S+) (%S+)$')
if secret ~= ARGV[2] then
  return { 'UNKNOWN' }
elseif state == 'a' then
  return { 'ALREADY' }
elseif state ~= 'o' or tonumber(deadline) <= now then
  return { 'TOO_LATE' }
end
redis.call('HSET', KEYS[2], 'format', '1', ARGV[1], ARGV[3])
redis.call('PEXPIREAT', KEYS[2], text(now + tonumber(ARGV[7])))
redis.call('HSET', KEYS[1], ARGV[1], table.concat({ 'a', deadline, secret, callee, conversation }, ' '))
local talk_till = text(now + tonumber(ARGV[8]))
redis.call('ZADD', KEYS[3], talk_till, callee .. ' ' .. conversation)
local talks = redis.call('ZRANGE', KEYS[3], 0, -1)
for i = 1, #talks - tonumber(ARGV[9]) do
  redis.call('ZREM', KEYS[3], talks[i])
end
redis.call('PEXPIREAT', KEYS[3], talk_till)
publish(ARGV[4], '', '\1\8' .. short(ARGV[5]) .. short(ARGV[6]) .. short(callee) .. short(conversation) .. ARGV[3])
return { 'OK' }
