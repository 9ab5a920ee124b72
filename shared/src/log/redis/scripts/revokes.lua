-- Shared by the scripts that revoke; their KEYS are revoked (by when it was made), revoked_until, revoked_own, revoked_said.

-- A number above all that were given: at least TIME, because one that was lost with a tail had a smaller one.
local function next_number(now, above)
  local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  local newest_own = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
  return math.max(tonumber(newest[2] or '0') + 1, tonumber(newest_own[2] or '0') + 1, above + 1, now)
end

-- The latest word of each region about the ban of a player: { number, until when or 0: its end, which numbers of other regions' words
-- were known when it was said }. A word counts if no latest word of another region knew of it.
local function words_of(topic)
  local words = {}
  local found = redis.call('HGET', KEYS[4], topic) or ''
  for region, number, till, known in string.gmatch(found, '(%S+) (%d+) (%d+) (%S+)') do
    local knew = {}
    for other, upto in string.gmatch(known, '([^:,]+):(%d+)') do
      knew[other] = tonumber(upto)
    end
    words[region] = { tonumber(number), tonumber(till), knew }
  end
  return words
end

local function word_of(words, region)
  words[region] = words[region] or { 0, 0, {} }
  return words[region]
end

-- What was known of other regions, each as `region` .. separator .. `number`.
local function knew_of(word, separator)
  local knew = {}
  for region, number in pairs(word[3]) do
    knew[#knew + 1] = region .. separator .. text(number)
  end
  table.sort(knew)
  return knew
end

local function keep_words(topic, words)
  local kept = {}
  for region, word in pairs(words) do
    local knew = table.concat(knew_of(word, ':'), ',')
    kept[#kept + 1] = table.concat({ region, text(word[1]), text(word[2]), knew == '' and '-' or knew }, ' ')
  end
  table.sort(kept)
  redis.call('HSET', KEYS[4], 'format', '1', topic, table.concat(kept, ' '))
end

-- The highest number of a region's words that another region knew of.
local function known_of(words, region)
  local known = 0
  for other, word in pairs(words) do
    known = other == region and known or math.max(known, word[3][region] or 0)
  end
  return known
end

-- Until when the words keep the player out; 0: they do not.
local function banned_until(words, now)
  local till = 0
  for region, word in pairs(words) do
    if word[2] > now and word[1] > known_of(words, region) then
      till = math.max(till, word[2])
    end
  end
  return till
end

-- What is over is told no longer; the words about bans stay, unless no other region has said any.
local function forget_over(now, own_region)
  local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now), 'LIMIT', 0, 1000)
  for _, gone in ipairs(over) do
    local kind, player = string.match(gone, '^(%a+):(.*)$')
    local is_ban = kind == 'ban' or kind == 'unban'
    local topic = is_ban and 'ban:' .. player or gone
    redis.call('ZREM', KEYS[1], gone)
    redis.call('ZREM', KEYS[2], gone)
    redis.call('ZREM', KEYS[3], topic)
    local is_own_only = true
    for region in pairs(is_ban and words_of(topic) or {}) do
      is_own_only = is_own_only and region == own_region
    end
    if is_own_only then
      redis.call('HDEL', KEYS[4], topic, 'by:' .. topic)
    end
  end
end

-- Adds this under the next number, or under `at`, for nodes to read, in place of what it replaces. Answers the number.
local function revoke(now, what, till, only_grows, replaced, at)
  at = at or next_number(now, 0)
  redis.call('ZADD', KEYS[1], text(at), what)
  if only_grows then
    -- A later revocation of the same never ends an earlier one sooner.
    redis.call('ZADD', KEYS[2], 'GT', text(till), what)
  else
    redis.call('ZADD', KEYS[2], text(till), what)
  end
  if replaced ~= '' then
    redis.call('ZREM', KEYS[1], replaced)
    redis.call('ZREM', KEYS[2], replaced)
  end
  return at
end

-- Says to the nodes what words that have changed come to.
local function show_ban(now, topic, before, words, end_kept)
  local after = banned_until(words, now)
  if after > 0 and after ~= before then
    revoke(now, topic, after, false, 'un' .. topic)
  elseif after == 0 and before > 0 then
    revoke(now, 'un' .. topic, math.max(before, now + end_kept), false, topic)
  end
end

-- The region's own word was said by this server, and not by one that had lost, or may have lost, what came after it.
local function is_said_here(topic)
  return redis.call('HGET', KEYS[4], 'by:' .. topic) == replication_id()
end
