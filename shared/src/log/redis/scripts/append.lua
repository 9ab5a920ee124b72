-- Appends one entry, or only checks the chain and publishes receipts.
-- KEYS: head, log. ARGV: prev, id, entry record or '', receipts record or '', channel.
-- Checks: the head's last id equals prev; the log exists. Writes: the entry, the head's last id; publishes.
-- Answers: OK receivers time | ALREADY time | FENCED last | LOST last-or-''.
local last = redis.call('HGET', KEYS[1], 'last')
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if last ~= ARGV[1] then
  if not last then
    return { 'LOST', '' }
  end
  local last_epoch, last_version = string.match(last, '^(%d+)-(%d+)$')
  local epoch, version = string.match(ARGV[2], '^(%d+)-(%d+)$')
  last_epoch, epoch = tonumber(last_epoch), tonumber(epoch)
  if last_epoch > epoch then
    return { 'FENCED', last }
  elseif last_epoch == epoch and tonumber(last_version) >= tonumber(version) then
    return { 'ALREADY', now }
  end
  return { 'LOST', last }
end
local at, receivers = last, 0
if ARGV[3] == '' then
  if redis.call('EXISTS', KEYS[2]) == 0 then
    return { 'LOST', '' }
  end
else
  -- The first write, and refused where there is no log: nothing is written then.
  if not redis.call('XADD', KEYS[2], 'NOMKSTREAM', ARGV[2], 'e', ARGV[3]) then
    return { 'LOST', '' }
  end
  at = ARGV[2]
  redis.call('HSET', KEYS[1], 'last', at)
  receivers = redis.call('SPUBLISH', ARGV[5], '\1' .. string.char(#at) .. at .. ARGV[3])
end
if ARGV[4] ~= '' then
  receivers = redis.call('SPUBLISH', ARGV[5], '\1' .. string.char(#at) .. at .. ARGV[4])
end
return { 'OK', string.format('%.0f', receivers), now }
