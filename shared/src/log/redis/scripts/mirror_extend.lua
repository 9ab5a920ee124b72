-- Adds the next entries to a copy of a log.
-- KEYS: head, log, and in redis-nexus sources, news. ARGV: prev, channel or '', source, news kept, then id and record of each entry.
-- Checks: the copy's last id equals prev. Writes: the entries, the head's last id and lineage; publishes, or says that there is news.
-- Answers: begun, last, lineage, snapshot of the copy as it is now; nothing without one.
local head = redis.call('HMGET', KEYS[1], 'last', 'lineage')
if head[1] == ARGV[1] and #ARGV > 4 then
  copy_entries(KEYS[1], KEYS[2], ARGV[2], head[1], head[2], 5)
  tell(KEYS[1], KEYS[3], KEYS[4], ARGV[3], ARGV[4])
end
return standing(KEYS[1])
