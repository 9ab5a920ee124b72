-- What another region revoked.
-- KEYS: as `revokes`. ARGV: what, until_ms, 1 if until only grows, what it replaces or '', region, its number there, about what it says one
-- thing after another or '', ms that the end of a ban is kept.
-- Checks: it is later than what that region said of it before; a token: it was not revoked here for as long; it is not over.
-- Writes: the number; as `revokes`. Answers: nothing.
local now, what, till, replaced = now_ms(), ARGV[1], tonumber(ARGV[2]), ARGV[4]
local known, said = 0, ''
for region, number in string.gmatch(redis.call('HGET', KEYS[4], ARGV[7]) or '', '(%S+) (%d+)') do
  if region == ARGV[5] then
    known = tonumber(number)
  else
    said = said .. region .. ' ' .. number .. ' '
  end
end
if ARGV[7] == '' and tonumber(redis.call('ZSCORE', KEYS[2], what) or '0') >= till or tonumber(ARGV[6]) <= known then
  return {}
end
local is_end = string.sub(what, 1, 6) == 'unban:'
if till <= now and not is_end and known > 0 and redis.call('SISMEMBER', KEYS[3], what) == 1 and replaced ~= '' then
  -- It took the place of a ban that is longer.
  what, replaced, is_end = replaced, what, true
end
if is_end then
  -- Whoever hears of it late has the ban all the same.
  till = math.max(till, now + ARGV[8])
end
if till > now then
  -- The end of a ban of this region is its own as well: who learns of the two from two regions hears of the end last.
  local is_own = is_end and redis.call('ZSCORE', KEYS[1], replaced) and redis.call('SISMEMBER', KEYS[3], replaced) == 0
  revoke(now, what, till, ARGV[3] == '1', replaced, is_own)
end
if ARGV[7] ~= '' and (till > now or replaced ~= '') then
  redis.call('HSET', KEYS[4], 'format', '1', ARGV[7], said .. ARGV[5] .. ' ' .. ARGV[6])
end
return {}
