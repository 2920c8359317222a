#!lua name=layouts

-- Layouts that posting lists could have instead: questions and chunks as fpserver's functions get them (codec.py), their
-- bookkeeping of tracks left out.

local function each_bucket(blob, visit)
  local n_buckets = struct.unpack(">I4", blob)
  local at_n, at_low = 5 + 4 * n_buckets, 5 + 5 * n_buckets
  for b = 0, n_buckets - 1 do
    local n = string.byte(blob, at_n + b)
    visit(string.sub(blob, 5 + 4 * b, 8 + 4 * b), { string.byte(blob, at_low, at_low + n - 1) })
    at_low = at_low + n
  end
  return at_low
end

-- Calls visit(bucket, lows, lists), what is to be added to each of these lists.
local function each_addition(blob, visit)
  local buckets, n_lists = {}, 0
  local at_size = each_bucket(blob, function(bucket, lows)
    buckets[#buckets + 1] = { bucket, lows }
    n_lists = n_lists + #lows
  end)
  local at = at_size + 2 * n_lists
  for _, each in ipairs(buckets) do
    local lists = {}
    for i = 1, #each[2] do
      local size = 6 * struct.unpack(">I2", blob, at_size)
      lists[i] = string.sub(blob, at, at + size - 1)
      at_size, at = at_size + 2, at + size
    end
    visit(each[1], each[2], lists)
  end
end

redis.register_function("strings_add", function(keys, args)
  each_addition(args[1], function(bucket, lows, lists)
    for i = 1, #lows do
      redis.call("APPEND", keys[1] .. bucket .. string.char(lows[i]), lists[i])
    end
  end)
  return 1
end)

redis.register_function("buckets_add", function(keys, args)
  each_addition(args[1], function(bucket, lows, lists)
    local stored = redis.call("HMGET", keys[1] .. bucket, unpack(lows))
    local grown = {}
    for i = 1, #lows do
      grown[#grown + 1] = lows[i]
      grown[#grown + 1] = (stored[i] or "") .. lists[i]
    end
    redis.call("HSET", keys[1] .. bucket, unpack(grown))
  end)
  return 1
end)

redis.register_function({
  function_name = "strings_lookup",
  flags = { "no-writes" },
  callback = function(keys, args)
    local found = {}
    each_bucket(args[1], function(bucket, lows)
      for i = 1, #lows do
        found[#found + 1] = redis.call("GET", keys[1] .. bucket .. string.char(lows[i])) or ""
      end
    end)
    return table.concat(found)
  end,
})

redis.register_function({
  function_name = "buckets_lookup",
  flags = { "no-writes" },
  callback = function(keys, args)
    local found = {}
    each_bucket(args[1], function(bucket, lows)
      for _, list in ipairs(redis.call("HMGET", keys[1] .. bucket, unpack(lows))) do
        found[#found + 1] = list or ""
      end
    end)
    return table.concat(found)
  end,
})
