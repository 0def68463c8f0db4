-- work.lua - recursion, sorting, string building and matching, tables.
local function fib(n)
	if n < 2 then return n end
	return fib(n - 1) + fib(n - 2)
end

local seed = 42
local function random(n)
	seed = (seed * 1103515245 + 12345) % 2147483648
	return seed % n
end

local function sorted(count)
	local t = {}
	for i = 1, count do t[i] = random(1000000) end
	table.sort(t, function(a, b) return a < b end)
	local sum = 0
	for i = 1, count, 10 do sum = (sum * 31 + t[i]) % 1000000007 end
	return sum
end

local function strings(count)
	local words, found = {}, 0
	for i = 1, count do
		words[#words + 1] = string.format("%x-%d", random(65536), i)
	end
	local all = table.concat(words, " ")
	for hex, n in all:gmatch("(%x+)-(%d+)") do
		if tonumber(hex, 16) % 7 == 0 then found = found + n end
	end
	return found, #all, #all:rep(3):gsub("[0-4]", "."):upper()
end

local function objects(count)
	local point = {}
	point.__index = point
	function point.add(a, b)
		return setmetatable({ x = a.x + b.x, y = a.y + b.y }, point)
	end
	local sum = setmetatable({ x = 0, y = 0 }, point)
	for i = 1, count do
		sum = sum:add(setmetatable({ x = i, y = -i }, point))
	end
	return sum.x, sum.y
end

print(fib(22), sorted(10000))
print(strings(5000))
print(objects(30000))
