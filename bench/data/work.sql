-- work.sql - a small schema: bulk insert, index, join, aggregate, update.
CREATE TABLE item(id INTEGER PRIMARY KEY, kind INT, name TEXT, price REAL);
CREATE TABLE sale(id INTEGER PRIMARY KEY, item INT, amount INT, day INT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO item SELECT i, i % 17, printf('item-%05d', i * 7919 % 10007),
	(i * 31 % 997) / 10.0 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
INSERT INTO sale SELECT i, i * 7907 % 2000 + 1, i % 9 + 1, i % 365 FROM n;
COMMIT;
CREATE INDEX sale_item ON sale(item);
CREATE INDEX item_name ON item(name);
SELECT kind, count(*), sum(amount), round(sum(amount * price), 1)
	FROM sale JOIN item ON item.id = sale.item GROUP BY kind ORDER BY kind;
SELECT name FROM item WHERE name LIKE '%99%' ORDER BY name LIMIT 5;
UPDATE item SET price = price * 1.1 WHERE kind IN (3, 5, 8);
SELECT day, max(total) FROM (SELECT day, item, sum(amount) AS total FROM sale
	GROUP BY day, item) GROUP BY day % 7 ORDER BY 1 LIMIT 5;
SELECT count(*) FROM item a JOIN item b ON b.name = a.name AND b.id <> a.id;
