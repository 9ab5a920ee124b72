-- Changes one thing of what a player hears.
-- KEYS: ears. ARGV: field, value or '' (the field goes), fields of this kind at most, channel.
-- Checks: the value is another one (a mark `m:` only grows); no more blocks `b:` than may be (of kinds `u:` there are few). Writes: the field; of
-- marks beyond the most the oldest go, of sectors and topics, which many pass, apart from the others; publishes the change.
-- Answers: CHANGED | UNCHANGED | FULL.
local key, field, value, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local function kept_with(name)
  local is_passed = string.find(name, '^m:sector:') or string.find(name, '^m:topic:')
  return is_passed and 'passed' or string.sub(name, 1, 2)
end
local old, kind = redis.call('HGET', key, field), string.sub(field, 1, 2)
if value == (old or '') then
  return { 'UNCHANGED' }
end
if kind == 'm:' and old then
  local old_ms, old_n = split_id(old)
  local ms, n = split_id(value)
  if ms < old_ms or ms == old_ms and n < old_n then
    return { 'UNCHANGED' }
  end
end
local drop
if not old and value ~= '' and (kind == 'm:' or kind == 'b:') then
  local count, oldest = 0, nil
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if kept_with(all[i]) == kept_with(field) then
      count = count + 1
      local ms = kind == 'm:' and split_id(all[i + 1]) or 0
      if not oldest or ms < oldest then
        oldest, drop = ms, all[i]
      end
    end
  end
  if count < most then
    drop = nil
  elseif kind == 'b:' then
    return { 'FULL' }
  end
end
if value == '' then
  redis.call('HDEL', key, field)
else
  if drop then
    redis.call('HDEL', key, drop)
  end
  redis.call('HSET', key, field, value)
end
publish(ARGV[4], '', '\1\9' .. short(field) .. short(value))
return { 'CHANGED' }
