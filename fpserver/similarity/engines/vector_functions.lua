#!lua name=fpserver_vectors

-- Vectors of one set with their names in one answer: one call per set, instead of one command per vector.
--
-- Every function gets the key of a vector set as KEYS[1] and answers three strings: names, a space between them; how
-- long each vector is, 8 bytes, little endian; and the vectors as they are held (lifted.py), end to end. All three are
-- in the same order, and of what is there: names that are gone are passed over.

local function told(key, names)
  local there, lengths, vectors = {}, {}, {}
  for i = 1, #names do
    local held = redis.call("VEMB", key, names[i], "RAW") -- kind, vector, length
    if held then
      local n = #there + 1
      there[n], lengths[n], vectors[n] = names[i], struct.pack("<d", tonumber(held[3])), held[2]
    end
  end
  return { table.concat(there, " "), table.concat(lengths), table.concat(vectors) }
end

-- ARGV: what VSIM is told behind its key. In a function this is the work of the server's own thread, so that is to be
-- a look at a few hundred vectors, and never TRUTH.
local function near(keys, args)
  return told(keys[1], redis.call("VSIM", keys[1], unpack(args)))
end

-- ARGV: names.
local function fetch(keys, args)
  return told(keys[1], args)
end

redis.register_function({ function_name = "fpserver_vectors_near", callback = near, flags = { "no-writes" } })
redis.register_function({ function_name = "fpserver_vectors_fetch", callback = fetch, flags = { "no-writes" } })
