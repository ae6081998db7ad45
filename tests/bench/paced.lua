-- load.lua for a caller who takes a moment between two requests of a connection.
dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "load.lua")

function delay()
  return math.random(10, 30)
end
