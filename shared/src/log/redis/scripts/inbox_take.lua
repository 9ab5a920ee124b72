-- The reader's turn: removes what it took, answers what is there.
-- KEYS: inbox. ARGV: read items after this id, trim below this id or '', count.
-- Checks: the inbox exists. Writes: an empty one if not; else trims. Answers: id to wait behind, items.
local after = ARGV[1]
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], '*', 'c', '')
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', '0')
  return { '0-0', {} }
elseif ARGV[2] ~= '' then
  redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[2])
end
return { after, redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[3]) }
