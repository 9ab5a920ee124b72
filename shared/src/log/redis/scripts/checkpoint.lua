-- Stores a newer snapshot and trims the log behind it.
-- KEYS: head, log, snap. ARGV: id, lineage, window, public, own, system, dormant 0|1, dormant part, since.
-- Checks: the head is of the snapshot's epoch and not behind it; the stored snapshot is older, and without a dormant part
-- it is the one at `since`. Writes: the snapshot (the dormant part only if given); trims to max(window, entries after it).
-- Answers: DONE | NOT_NEWER | DORMANT_NEEDED | REFUSED last-or-''.
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
end
if ARGV[7] == '0' and stored ~= ARGV[9] then
  -- The part that should stay went with a lost tail.
  return { 'DORMANT_NEEDED' }
end

redis.call('HSET', KEYS[3], 'format', '1', 'id', ARGV[1], 'lineage', ARGV[2], 'public', ARGV[4], 'own', ARGV[5],
  'system', ARGV[6])
if ARGV[7] == '1' then
  redis.call('HSET', KEYS[3], 'dormant', ARGV[8])
end
-- By count: an id (MINID) would cut the wrong end across epochs, and `~` stops at 10,000 entries.
redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', text(math.max(tonumber(ARGV[3]), last_version - version)))
return { 'DONE' }
