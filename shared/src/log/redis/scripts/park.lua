-- Closes an idle room.
-- KEYS: head, log, snap. ARGV: prev, incarnation.
-- Checks: the head's last id is prev, its owner the caller, the snapshot at the head's version. Writes: trims the log to
-- nothing (never deletes it: that would reset the fence) and clears the owner. A repeat finds itself parked.
-- Answers: DONE | REFUSED.
local head = redis.call('HMGET', KEYS[1], 'last', 'owner', 'nonce')
local stored = redis.call('HGET', KEYS[3], 'id')
if head[1] ~= ARGV[1] or not stored then
  return { 'REFUSED' }
end
local _, last_version = split_id(head[1])
local _, stored_version = split_id(stored)
if stored_version ~= last_version then
  return { 'REFUSED' }
end
if head[2] == '' and string.match(head[3] or '', '^%S+') == ARGV[2] then
  return { 'DONE' }
elseif head[2] ~= ARGV[2] then
  return { 'REFUSED' }
end
redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', '0')
redis.call('HSET', KEYS[1], 'owner', '')
return { 'DONE' }
