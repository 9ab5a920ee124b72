-- Gives a copy of a log a later snapshot and trims behind it.
-- KEYS: head, log, snap. ARGV: id, lineage, window, public, own, system, dormant.
-- Checks: the id is on the copy's chain, and later than its snapshot. Writes: the snapshot; trims to max(window, entries after it).
-- Answers: begun, last, lineage, snapshot of the copy as it is now; nothing without one.
local head = redis.call('HMGET', KEYS[1], 'last', 'lineage', 'snapshot')
if head[1] then
  local epoch, version = split_id(ARGV[1])
  local last_epoch, last_version = split_id(head[1])
  local _, stored_version = split_id(head[3])
  local on_chain = epoch == last_epoch and version <= last_version
  for word in string.gmatch(head[2], '%S+') do
    local known_epoch, known_version = split_id(word)
    on_chain = on_chain or epoch == known_epoch and version <= known_version
  end
  if on_chain and version > stored_version then
    redis.call('HSET', KEYS[3], 'format', '1', 'id', ARGV[1], 'lineage', ARGV[2], 'public', ARGV[4], 'own', ARGV[5],
      'system', ARGV[6], 'dormant', ARGV[7])
    redis.call('HSET', KEYS[1], 'snapshot', ARGV[1])
    redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', text(math.max(tonumber(ARGV[3]), last_version - version)))
  end
end
return standing(KEYS[1])
