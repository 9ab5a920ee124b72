-- Tells the game's backend what entries of a room led to, each event once.
-- KEYS: events, told. ARGV: whose events (a room, or a player of another region), upto, events kept, then for each event: entry id, count of words, field, value, ….
-- Checks: up to which entry this room's events were told. Writes: an item per event of a later entry; told, if upto is
-- later. Answers: TOLD, count.
local told = redis.call('HGET', KEYS[2], ARGV[1])
local told_epoch, told_version = -1, -1
if told then
  told_epoch, told_version = split_id(told)
end
local function is_new(id)
  local epoch, version = split_id(id)
  return epoch > told_epoch or epoch == told_epoch and version > told_version
end
local at, count = 4, 0
while at <= #ARGV do
  local last = at + 1 + tonumber(ARGV[at + 1])
  if is_new(ARGV[at]) then
    redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[3], '*', unpack(ARGV, at + 2, last))
    count = count + 1
  end
  at = last + 1
end
if is_new(ARGV[2]) then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
return { 'TOLD', text(count) }
