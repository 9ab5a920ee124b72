-- Opens a call of a player, or finds the one of this name.
-- KEYS: calls, talks, answers. ARGV: actor:n, callee, conversation to continue or '', fresh conversation, secret, within_ms,
-- kept_ms, open at most, closed kept at most.
-- Checks: the name is new; the conversation is the player's with this callee; few enough are open. Writes: the call; forgets
-- what is over. A deadline is never kept longer than the key lives.
-- Answers: OPEN, secret, callee, conversation, deadline_ms, time | ANSWERED, callee, conversation, body | TIMED_OUT |
-- TOO_MANY | UNKNOWN_CONVERSATION.
local now, name, kept = now_ms(), ARGV[1], tonumber(ARGV[7])
local open, over, closed = 0, {}, {}
local record = redis.call('HGETALL', KEYS[1])
for i = 1, #record, 2 do
  local state, deadline, secret, callee, conversation = string.match(record[i + 1], '^(%a) (%d+) (%x+) (%S+) (%S+)$')
  local till = tonumber(deadline)
  if state and till + kept > now then
    if record[i] == name then
      if state == 'a' then
        return { 'ANSWERED', callee, conversation, redis.call('HGET', KEYS[3], name) or '' }
      elseif state == 't' or till <= now then
        return { 'TIMED_OUT' }
      end
      return { 'OPEN', secret, callee, conversation, deadline, text(now) }
    elseif state == 'o' and till > now then
      open = open + 1
    else
      closed[#closed + 1] = { field = record[i], till = till }
    end
  elseif state then
    over[#over + 1] = record[i]
  end
end
local conversation = ARGV[3]
if conversation ~= '' then
  local till = redis.call('ZSCORE', KEYS[2], ARGV[2] .. ' ' .. conversation)
  if not till or tonumber(till) <= now then
    return { 'UNKNOWN_CONVERSATION' }
  end
else
  conversation = ARGV[4]
end
if open >= tonumber(ARGV[8]) then
  return { 'TOO_MANY' }
end
table.sort(closed, function(a, b) return a.till < b.till end)
for i = 1, #closed - tonumber(ARGV[9]) do
  over[#over + 1] = closed[i].field
end
if #over > 0 then
  redis.call('HDEL', KEYS[1], unpack(over))
  redis.call('HDEL', KEYS[3], unpack(over))
end
local deadline = text(now + tonumber(ARGV[6]))
redis.call('HSET', KEYS[1], 'format', '1', name, table.concat({ 'o', deadline, ARGV[5], ARGV[2], conversation }, ' '))
redis.call('PEXPIREAT', KEYS[1], text(now + tonumber(ARGV[6]) + kept))
return { 'OPEN', ARGV[5], ARGV[2], conversation, deadline, text(now) }
