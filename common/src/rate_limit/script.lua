-- Charges one request to several windows: to all of them, or, if one has too few points left, to none.
--
-- KEYS  the windows.
-- ARGV  for each: how many points it has, how many milliseconds it lasts, how many points the request takes.
-- Gives the time in milliseconds, 1 or 0 for charged or not, and for each window the points used and its end.
--
-- A window is the text "<used> <end>". Its end is kept in it, and time is that of this server, so that all who ask are
-- told the same end to the millisecond, whatever their own clocks say.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored = redis.call('MGET', unpack(KEYS))
local used, ends, charged = {}, {}, 1
for i = 1, #KEYS do
  local points, length, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local count, ending
  if stored[i] then
    count, ending = string.match(stored[i], '^(%d+) (%d+)$')
    count, ending = tonumber(count), tonumber(ending)
  end
  if not ending or ending <= now then
    count, ending = 0, now + length
  end
  if count + cost > points then
    charged = 0
  end
  used[i], ends[i] = count, ending
end
local reply = {now, charged}
for i = 1, #KEYS do
  if charged == 1 then
    used[i] = used[i] + ARGV[3 * i]
    redis.call('SET', KEYS[i], string.format('%d %d', used[i], ends[i]), 'PX', ends[i] - now)
  end
  reply[2 * i + 1], reply[2 * i + 2] = used[i], ends[i]
end
return reply
