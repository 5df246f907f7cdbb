-- Requests go out in batches, without waiting for the answers between. Arguments, after "--": how many in a batch.
init = function(args)
  batch = string.rep(wrk.format(), tonumber(args[1]))
end

request = function()
  return batch
end
