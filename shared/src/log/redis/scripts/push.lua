-- Adds items of a region's feed to redis-nexus, under their ids.
-- KEYS: items, place, sources, news. ARGV: source, rewinds, after, upto, seal, items kept, news kept, place known, ms that items are kept or
-- '', then id and body of each item.
-- Checks: they begin at or below the place reached, each is above it; a rewind is of the place known, or removes nothing. Writes: after a rewind removes
-- what came after `after`; the items, the place reached, the source's name; says that there is news. Answers: rewinds, id of the place reached,
-- seal of the item there.
local stored = redis.call('HMGET', KEYS[2], 'rewinds', 'upto', 'last', 'seal')
local rewinds, upto, last, seal = tonumber(stored[1] or '0'), stored[2] or '0-0', stored[3] or '0-0', stored[4] or '0'
local given, after = tonumber(ARGV[2]), ARGV[3]
local is_rewind = given > rewinds
if is_rewind and is_above(after, upto) and #ARGV == 9 then
  after = upto
elseif given < rewinds or not is_rewind and is_above(after, upto) or is_rewind and text(rewinds) .. ' ' .. upto ~= ARGV[8] then
  return { text(rewinds), upto, seal }
end
if is_rewind then
  if is_above(last, after) then
    -- Anew: a stream takes nothing below an id that it ever had, and from Redis 7.2 on not by XSETID either.
    local kept = redis.call('XRANGE', KEYS[1], '-', after)
    redis.call('DEL', KEYS[1])
    last = '0-0'
    for _, item in ipairs(kept) do
      last = redis.call('XADD', KEYS[1], item[1], unpack(item[2]))
    end
  end
  upto = after
  redis.call('HSET', KEYS[2], 'to:' .. text(given), after)
  redis.call('HDEL', KEYS[2], 'to:' .. text(given - 16))
end
local added = is_rewind
for i = 10, #ARGV, 2 do
  if is_above(ARGV[i], upto) then
    redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[6], ARGV[i], 'i', ARGV[i + 1], 'p', last)
    upto, last, added = ARGV[i], ARGV[i], true
  end
end
if ARGV[9] ~= '' and added then
  -- By the clock of its region as far as that goes, and without it when nothing more comes.
  redis.call('XTRIM', KEYS[1], 'MINID', '=', text(math.max(split_id(last) - ARGV[9], 0)))
  redis.call('PEXPIRE', KEYS[1], ARGV[9])
end
if is_above(ARGV[4], upto) or ARGV[4] == upto then
  upto, seal = ARGV[4], ARGV[5]
end
redis.call('HSET', KEYS[2], 'format', '1', 'rewinds', text(given), 'upto', upto, 'last', last, 'seal', seal)
if added then
  redis.call('SADD', KEYS[3], ARGV[1])
  local before = last_of(KEYS[4])
  local id = next_id(before, ARGV[1] .. ' ' .. text(given) .. ' ' .. upto)
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], id, 's', ARGV[1], 'p', before)
end
return { text(given), upto, seal }
