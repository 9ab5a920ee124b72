-- Stores a newer snapshot and trims the log behind it.
-- KEYS: head, log, snap. ARGV: id, lineage, window, public, own, system, dormant 0|1, dormant part.
-- Checks: the head is of the snapshot's epoch and not behind it; the stored snapshot is older. Writes: the snapshot
-- (the dormant part only if given); trims to max(window, entries after the snapshot).
-- Answers: DONE | NOT_NEWER | REFUSED last-or-''.
local last = redis.call('HGET', KEYS[1], 'last')
if not last then
  return { 'REFUSED', '' }
end
local last_epoch, last_version = split_id(last)
local epoch, version = split_id(ARGV[1])
if last_epoch ~= epoch or version > last_version then
  return { 'REFUSED', last }
end
local stored = redis.call('HGET', KEYS[3], 'id')
if stored then
  local _, stored_version = split_id(stored)
  if stored_version >= version then
    return { 'NOT_NEWER' }
  end
elseif ARGV[7] == '0' then
  return redis.error_reply('NOSNAPSHOT there is no stored snapshot whose dormant part could stay')
end

redis.call('HSET', KEYS[3], 'format', '1', 'id', ARGV[1], 'lineage', ARGV[2], 'public', ARGV[4], 'own', ARGV[5],
  'system', ARGV[6])
if ARGV[7] == '1' then
  redis.call('HSET', KEYS[3], 'dormant', ARGV[8])
end
-- By count: an id (MINID) would cut the wrong end across epochs, and `~` stops at 10,000 entries.
redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', text(math.max(tonumber(ARGV[3]), last_version - version)))
return { 'DONE' }
