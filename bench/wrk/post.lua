-- Every request is a POST. Arguments, after "--": the octets of its body, a multiple of 16.
init = function(args)
  wrk.method = "POST"
  wrk.body = string.rep("0123456789abcdef", tonumber(args[1]) / 16)
  wrk.headers["Content-Type"] = "application/octet-stream"
end
