-- A member's sign of life, and the one place where members expire.
-- KEYS: members. ARGV: incarnation, state, ttl_ms, settings, joining 0|1, ring_above or '', period_ms of its beats,
-- gone_kept_ms, prefix of alive channels, address, suspects.
-- Checks: not gone; joining: settings equal. Writes: its own record unless refused; spares or expires others; ring
-- version, time of the beat, replication id. Answers: GONE | SETTINGS theirs | OK time ring calm_until replication-id
-- {incarnation, state, expires, address …} {gone, ms …} {silent …}.
local key, me, ttl = KEYS[1], ARGV[1], tonumber(ARGV[3])
local now = now_ms()
local replication = replication_id()
local members, gone, facts = roll_of(key)
if gone[me] then
  return { 'GONE' }
end

-- Spare: nobody beat for long, time went back, or another Redis answers. What looks like death may be a pause.
local last_any, calm = tonumber(facts.beat), tonumber(facts.calm or '0')
local back = last_any ~= nil and now < last_any
local stalled = last_any ~= nil and now - last_any > ttl / 2
local replaced = facts.repl ~= nil and facts.repl ~= replication
if back or stalled or replaced then
  local spared_any = false
  for _, member in pairs(members) do
    if not member.spared then
      member.expires, member.spared, spared_any = now + ttl, true, true
    end
    if back then
      member.expires, member.last = math.min(member.expires, now + ttl), math.min(member.last, now)
    end
  end
  if spared_any or replaced then
    calm = now + ttl
  elseif back then
    calm = math.min(calm, now + ttl)
  end
end
local is_calm = now < calm

local peers, channels, silent, suspected = {}, {}, {}, {}
for name in pairs(members) do
  if name ~= me then
    peers[#peers + 1] = name
    channels[#channels + 1] = ARGV[9] .. name
  end
end
if #channels > 0 then
  local counts = redis.call('PUBSUB', 'SHARDNUMSUB', unpack(channels))
  for i, name in ipairs(peers) do
    silent[name] = tonumber(counts[2 * i]) == 0
  end
end
for i = 11, #ARGV do
  suspected[ARGV[i]] = true
end

-- A silent peer whose next beat is 1.5 of its own beats overdue (`membership::silent_dead_after`) needs no expiry.
local expired, living_peers = {}, 0
for _, name in ipairs(peers) do
  local member = members[name]
  local dead = suspected[name] and silent[name] and now - member.last >= member.period * 5 / 2 and not is_calm
  if dead or member.expires <= now then
    expired[#expired + 1] = name
  else
    living_peers = living_peers + 1
  end
end
-- Who is refused still spares and expires the others: else the settings of the dead would bind for ever.
local refused = ARGV[5] == '1' and living_peers > 0 and facts.settings and facts.settings ~= ARGV[4]
local changed = false
if not refused then
  local mine = members[me]
  changed = mine == nil and ARGV[2] == 'in' or mine ~= nil and mine.state ~= ARGV[2]
  members[me] = { state = ARGV[2], expires = now + ttl, last = now, period = tonumber(ARGV[7]), spared = false,
    address = ARGV[10] }
end
for _, name in ipairs(expired) do
  changed = changed or members[name].state == 'in'
  members[name], silent[name], gone[name] = nil, nil, now
  redis.call('HDEL', key, 'm:' .. name)
  redis.call('HSET', key, 'g:' .. name, text(now))
end
local ring, above = tonumber(facts.ring or '0'), tonumber(ARGV[6])
if changed or ring == 0 then
  ring = raised(ring, now)
end
if above and ring <= above then
  ring = raised(above, now)
end
redis.call('HSET', key, 'format', '1', 'ring', text(ring), 'beat', text(now), 'repl', replication, 'calm', text(calm))
if not refused and (ARGV[5] == '1' or not facts.settings) then
  redis.call('HSET', key, 'settings', ARGV[4])
end

local living, went, quiet = {}, {}, {}
for name, member in pairs(members) do
  redis.call('HSET', key, 'm:' .. name, member_text(member))
  living[#living + 1] = name
  living[#living + 1] = member.state
  living[#living + 1] = text(member.expires)
  living[#living + 1] = member.address
  if silent[name] then
    quiet[#quiet + 1] = name
  end
end
for name, ms in pairs(gone) do
  if now - ms > tonumber(ARGV[8]) then
    redis.call('HDEL', key, 'g:' .. name)
  else
    went[#went + 1] = name
    went[#went + 1] = text(ms)
  end
end
if refused then
  return { 'SETTINGS', facts.settings }
end
return { 'OK', text(now), text(ring), is_calm and text(calm) or '0', replication, living, went, quiet }
