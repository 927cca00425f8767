-- Stock valuation by lots, first in first out, computed with window functions.
--
-- Problem: goods are bought at changing prices. What did the goods that were sold cost, and
-- what is the remaining stock worth? Under FIFO the oldest units leave first. If purchases
-- and sales are each laid end to end on a number line of units, a sale consumes exactly the
-- purchased units in the same stretch of the line. So every (lot, sale) pair with overlapping
-- stretches is one consumption, and no procedural loop is needed.

CREATE TABLE purchase (
    lot        INTEGER PRIMARY KEY,
    item       TEXT    NOT NULL,
    bought_on  TEXT    NOT NULL,
    units      INTEGER NOT NULL CHECK (units > 0),
    unit_cents INTEGER NOT NULL CHECK (unit_cents >= 0)
);

CREATE TABLE sale (
    sale       INTEGER PRIMARY KEY,
    item       TEXT    NOT NULL,
    sold_on    TEXT    NOT NULL,
    units      INTEGER NOT NULL CHECK (units > 0),
    unit_cents INTEGER NOT NULL CHECK (unit_cents >= 0)
);

-- Each purchase as the half-open stretch [first_unit, end_unit) of its item's line.
CREATE VIEW purchase_line AS
SELECT lot, item, bought_on, unit_cents,
       SUM(units) OVER w - units AS first_unit,
       SUM(units) OVER w         AS end_unit
FROM purchase
WINDOW w AS (PARTITION BY item ORDER BY bought_on, lot ROWS UNBOUNDED PRECEDING);

CREATE VIEW sale_line AS
SELECT sale, item, sold_on, unit_cents,
       SUM(units) OVER w - units AS first_unit,
       SUM(units) OVER w         AS end_unit
FROM sale
WINDOW w AS (PARTITION BY item ORDER BY sold_on, sale ROWS UNBOUNDED PRECEDING);

-- Which lot served which sale, and with how many units.
CREATE VIEW consumption AS
SELECT s.sale, p.lot, p.item, s.sold_on,
       MIN(p.end_unit, s.end_unit) - MAX(p.first_unit, s.first_unit) AS units,
       p.unit_cents AS cost_cents,
       s.unit_cents AS price_cents
FROM purchase_line AS p
JOIN sale_line AS s
  ON s.item = p.item
 AND s.first_unit < p.end_unit
 AND p.first_unit < s.end_unit;

-- What is left of every lot.
CREATE VIEW remaining AS
SELECT p.lot, p.item, p.unit_cents,
       p.units - COALESCE((SELECT SUM(c.units) FROM consumption AS c WHERE c.lot = p.lot), 0)
           AS units
FROM purchase AS p;

-- Units that were sold but never bought: a sign of missing purchase records.
CREATE VIEW oversold AS
SELECT s.item, SUM(s.units) - COALESCE(b.units, 0) AS units
FROM sale AS s
LEFT JOIN (SELECT item, SUM(units) AS units FROM purchase GROUP BY item) AS b
  ON b.item = s.item
GROUP BY s.item, b.units
HAVING SUM(s.units) > COALESCE(b.units, 0);

INSERT INTO purchase (lot, item, bought_on, units, unit_cents) VALUES
    (1, 'lamp', '2024-01-10', 10, 800),
    (2, 'lamp', '2024-02-03', 20, 950),
    (3, 'lamp', '2024-03-15', 10, 900),
    (4, 'desk', '2024-01-20',  3, 12000),
    (5, 'desk', '2024-02-20',  2, 13500);

INSERT INTO sale (sale, item, sold_on, units, unit_cents) VALUES
    (1, 'lamp', '2024-01-25',  4, 1500),
    (2, 'lamp', '2024-02-10', 15, 1500),
    (3, 'desk', '2024-02-25',  4, 19900),
    (4, 'lamp', '2024-03-20', 14, 1400),
    (5, 'rug',  '2024-03-21',  1, 5000);

-- Profit of every month.
SELECT substr(sold_on, 1, 7)                               AS month,
       SUM(units)                                          AS units,
       SUM(units * price_cents) / 100.0                    AS revenue,
       SUM(units * (price_cents - cost_cents)) / 100.0     AS profit
FROM consumption
GROUP BY month
ORDER BY month;

-- Value of the stock at hand.
SELECT item, SUM(units) AS units, SUM(units * unit_cents) / 100.0 AS value
FROM remaining
GROUP BY item
ORDER BY item;

-- Self-check: an INSERT fails if a condition does not hold.
CREATE TABLE self_check (what TEXT PRIMARY KEY, holds INTEGER NOT NULL CHECK (holds = 1));

INSERT INTO self_check
SELECT 'sale 2 uses two lots',
       group_concat(lot || 'x' || units, ' ') = '1x6 2x9'
FROM (SELECT lot, units FROM consumption WHERE sale = 2 ORDER BY lot);

INSERT INTO self_check
SELECT 'lamps at hand', SUM(units) = 7 AND SUM(units * unit_cents) = 7 * 900
FROM remaining WHERE item = 'lamp';

INSERT INTO self_check
SELECT 'cost of sold and unsold goods equals all purchases',
       (SELECT SUM(units * cost_cents) FROM consumption)
       + (SELECT SUM(units * unit_cents) FROM remaining)
       = (SELECT SUM(units * unit_cents) FROM purchase);

INSERT INTO self_check
SELECT 'the rug was never bought', COUNT(*) = 1 AND MAX(item) = 'rug' AND MAX(units) = 1
FROM oversold;

SELECT COUNT(*) || ' checks hold' AS result FROM self_check;
