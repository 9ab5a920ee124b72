-- Tells a player's connections to close.
-- KEYS: at, for its slot. ARGV: session or '', channel. Checks: nothing. Writes: nothing; publishes.
-- Answers: DONE.
publish(ARGV[2], '', '\1\10' .. short(ARGV[1]))
return { 'DONE' }
