-- Shared by `beat` and `leave`: the members hash as tables and back.
-- A member's text: state, expires_ms, last_beat_ms, period_ms of its beats, spared 0|1, address (may hold spaces).
local function member_of(value)
  local state, expires, last, period, spared, address = string.match(value, '^(%a+) (%d+) (%d+) (%d+) ([01]) (.*)$')
  return { state = state, expires = tonumber(expires), last = tonumber(last), period = tonumber(period),
    spared = spared == '1', address = address }
end

local function member_text(member)
  return table.concat({ member.state, text(member.expires), text(member.last), text(member.period),
    member.spared and '1' or '0', member.address }, ' ')
end

-- members and gone by incarnation, the other fields as they are.
local function roll_of(key)
  local members, gone, facts = {}, {}, {}
  local stored = redis.call('HGETALL', key)
  for i = 1, #stored, 2 do
    local mark, name = string.sub(stored[i], 1, 2), string.sub(stored[i], 3)
    if mark == 'm:' then
      members[name] = member_of(stored[i + 1])
    elseif mark == 'g:' then
      gone[name] = tonumber(stored[i + 1])
    else
      facts[stored[i]] = stored[i + 1]
    end
  end
  return members, gone, facts
end

-- The ring version after a change: grows, and is at least the time, so that a lost roll does not restart below.
local function raised(ring, now)
  return math.max(ring + 1, now)
end
