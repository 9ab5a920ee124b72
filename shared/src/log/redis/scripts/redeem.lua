-- Redeems a ticket.
-- KEYS: at. ARGV: hash, who redeems it. Checks: it was given, is good, and nobody else has redeemed it. Writes: who did.
-- Answers: the session that it continues, or ''.
local record, now = redis.call('HGETALL', KEYS[1]), now_ms()
for i = 1, #record, 2 do
  if string.sub(record[i], 1, 2) == 't:' then
    local hash, until_ms, used_by = string.match(record[i + 1], '^(%x+) (%d+) (%S+)$')
    if hash == ARGV[1] then
      if tonumber(until_ms) <= now or used_by ~= '#' and used_by ~= ARGV[2] then
        return { '' }
      end
      redis.call('HSET', KEYS[1], record[i], table.concat({ hash, until_ms, ARGV[2] }, ' '))
      return { string.sub(record[i], 3) }
    end
  end
end
return { '' }
