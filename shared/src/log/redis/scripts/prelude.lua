-- Shared by the scripts that are not on the hot path. Numbers stay below 2^53; they become text only through `text`,
-- because Lua prints 10^14 and more as 1e+14.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Another one means another Redis, or the same after a restart.
local function replication_id()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
end

local function text(number)
  return string.format('%.0f', number)
end

local function split_id(id)
  local first, second = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(first), tonumber(second)
end

local function is_above(id, other)
  local ms, n = split_id(id)
  local other_ms, other_n = split_id(other)
  return ms > other_ms or ms == other_ms and n > other_n
end

-- The newest id of a stream.
local function last_of(stream)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  return last[1] and last[1][1] or '0-0'
end

-- Where to read on in what is ordered by number: at the beginning, if nothing is numbered so high any more. A tail was lost then, and what
-- came since may be below.
local function read_after(set, after)
  local newest = redis.call('ZRANGE', set, -1, -1, 'WITHSCORES')
  return newest[2] and tonumber(newest[2]) < tonumber(after) and '0' or after
end

-- The id of what comes after `last` in a stream: later, and given to nothing else. A Redis that lost a tail may have the same
-- time and place again; what else comes there after `last`, or the same after something else, gets another number.
local function next_id(last, what)
  local now, ms, n = now_ms(), split_id(last)
  local mark = tonumber(string.sub(redis.sha1hex(last .. ' ' .. what), 1, 6), 16)
  if now > ms then
    return text(now) .. '-' .. text(mark)
  end
  return text(ms) .. '-' .. text(n + 1 + mark)
end

-- A short text of log/stored.rs: length byte, bytes.
local function short(bytes)
  return string.char(#bytes) .. bytes
end

local function claim_record(prev, owner, ring, counter)
  return '\1\1' .. short(prev) .. short(owner) .. short(ring) .. short(owner) .. short(counter)
end

local function publish(channel, id, record)
  return redis.call('SPUBLISH', channel, '\1' .. short(id) .. record)
end

-- Appends a word to a list of words and keeps the last 16 (limits::LINEAGE_EPOCHS).
local function lineage_with(lineage, id)
  local words = {}
  for word in string.gmatch(lineage, '%S+') do
    words[#words + 1] = word
  end
  words[#words + 1] = id
  return table.concat(words, ' ', math.max(1, #words - 15))
end

-- The lineage as it was when `id` was written: without its own epoch and later ones.
local function lineage_before(lineage, id)
  local epoch, words = split_id(id), {}
  for word in string.gmatch(lineage, '%S+') do
    if split_id(word) < epoch then
      words[#words + 1] = word
    end
  end
  return table.concat(words, ' ')
end

-- The head's `claims`: groups of `incarnation counter id prev`, the newest last, one per incarnation, 16 at most.
local function claim_of(claims, incarnation)
  for who, counter, id, prev in string.gmatch(claims, '(%S+) (%S+) (%S+) (%S+)') do
    if who == incarnation then
      return tonumber(counter), id, prev
    end
  end
end

local function claims_with(claims, incarnation, counter, id, prev)
  local groups = {}
  for who, c, i, p in string.gmatch(claims, '(%S+) (%S+) (%S+) (%S+)') do
    if who ~= incarnation then
      groups[#groups + 1] = table.concat({ who, c, i, p }, ' ')
    end
  end
  groups[#groups + 1] = table.concat({ incarnation, counter, id, prev }, ' ')
  return table.concat(groups, ' ', math.max(1, #groups - 15))
end

-- Judges an append or reclaim of `id` that did not find its prev: nil, or the answer that refuses it.
local function refusal(last, id)
  if not last then
    return { 'LOST', '' }
  end
  local last_epoch, last_version = split_id(last)
  local epoch, version = split_id(id)
  if last_epoch > epoch then
    return { 'FENCED', last }
  elseif last_epoch == epoch and last_version >= version then
    return { 'ALREADY', text(now_ms()) }
  end
  return { 'LOST', last }
end
