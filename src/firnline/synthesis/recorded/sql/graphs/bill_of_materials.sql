-- Bills of materials: which parts, at what cost and in what order, does a product need?
--
-- Problem: a bicycle consists of wheels, a wheel of spokes and a rim, and so on to any depth.
-- The same screw is used at many places. The questions "how many of each raw part?", "what
-- does it cost?" and "where is this part used?" are answered by recursive queries, and a
-- trigger refuses any change by which a part would contain itself.

CREATE TABLE part (
    part  TEXT PRIMARY KEY,
    cents INTEGER CHECK (cents >= 0)  -- purchase price; NULL for parts we assemble
);

CREATE TABLE component (
    whole TEXT    NOT NULL REFERENCES part (part),
    piece TEXT    NOT NULL REFERENCES part (part),
    count INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (whole, piece),
    CHECK (whole <> piece)
);
CREATE INDEX component_piece ON component (piece);

-- A refused insertion is written down here.
CREATE TABLE refused (whole TEXT, piece TEXT, reason TEXT);

-- Walk up from the new whole; if the new piece is met, the insertion would close a circle.
CREATE TRIGGER component_no_circle
BEFORE INSERT ON component
WHEN EXISTS (
    WITH RECURSIVE above (part) AS (
        SELECT NEW.whole
        UNION
        SELECT c.whole FROM component AS c JOIN above AS a ON c.piece = a.part
    )
    SELECT 1 FROM above WHERE part = NEW.piece
)
BEGIN
    INSERT INTO refused VALUES (NEW.whole, NEW.piece, 'the part would contain itself');
    SELECT RAISE(IGNORE);
END;

INSERT INTO part (part, cents) VALUES
    ('bicycle', NULL), ('wheel', NULL), ('frame', NULL), ('brake', NULL), ('light', 1450),
    ('rim', 2100), ('spoke', 35), ('hub', 1800), ('tube', 900), ('screw', 4), ('pad', 260),
    ('trailer', NULL);

INSERT INTO component (whole, piece, count) VALUES
    ('wheel', 'rim', 1), ('wheel', 'spoke', 32), ('wheel', 'hub', 1),
    ('brake', 'pad', 2), ('brake', 'screw', 3),
    ('frame', 'tube', 8), ('frame', 'screw', 6), ('frame', 'brake', 2),
    ('bicycle', 'frame', 1), ('bicycle', 'wheel', 2), ('bicycle', 'light', 2),
    ('bicycle', 'screw', 10),
    ('trailer', 'wheel', 2), ('trailer', 'tube', 5);

INSERT INTO component (whole, piece, count) VALUES ('brake', 'bicycle', 1);

-- Every way from a part down to another, with the number needed along this way. UNION ALL is
-- essential: two equal ways count twice.
CREATE VIEW explosion AS
WITH RECURSIVE walk (product, piece, needed, depth, way) AS (
    SELECT whole, piece, count, 1, whole || ' > ' || piece FROM component
    UNION ALL
    SELECT w.product, c.piece, w.needed * c.count, w.depth + 1, w.way || ' > ' || c.piece
    FROM walk AS w
    JOIN component AS c ON c.whole = w.piece
)
SELECT * FROM walk;

-- Raw parts to buy for one unit of a product.
CREATE VIEW shopping_list AS
SELECT e.product, e.piece, SUM(e.needed) AS needed, SUM(e.needed) * p.cents AS cents
FROM explosion AS e
JOIN part AS p ON p.part = e.piece
WHERE p.cents IS NOT NULL
GROUP BY e.product, e.piece;

-- The level at which a part can be assembled: one more than the highest level of its pieces.
CREATE VIEW assembly_level AS
SELECT p.part, COALESCE(MAX(e.depth), 0) AS level
FROM part AS p
LEFT JOIN explosion AS e ON e.product = p.part
GROUP BY p.part;

-- The structure of the bicycle as an indented list.
SELECT substr('                ', 1, 2 * depth) || needed || ' x ' || piece AS structure
FROM explosion
WHERE product = 'bicycle'
ORDER BY way;

SELECT piece, needed, cents / 100.0 AS price FROM shopping_list WHERE product = 'bicycle';

-- Which products are touched if the price of the screw rises by two cents?
SELECT product, needed * 2 AS more_cents FROM shopping_list WHERE piece = 'screw' ORDER BY 1;

CREATE TABLE self_check (what TEXT PRIMARY KEY, holds INTEGER NOT NULL CHECK (holds = 1));

INSERT INTO self_check
SELECT 'screws in a bicycle', needed = 10 + 6 + 2 * 3
FROM shopping_list WHERE product = 'bicycle' AND piece = 'screw';

INSERT INTO self_check
SELECT 'price of a wheel', SUM(cents) = 2100 + 32 * 35 + 1800
FROM shopping_list WHERE product = 'wheel';

INSERT INTO self_check
SELECT 'the circle was refused', COUNT(*) = 1 AND MAX(whole) = 'brake'
       AND NOT EXISTS (SELECT 1 FROM component WHERE piece = 'bicycle')
FROM refused;

INSERT INTO self_check
SELECT 'assembly comes after its pieces', COUNT(*) = 0
FROM component AS c
JOIN assembly_level AS w ON w.part = c.whole
JOIN assembly_level AS p ON p.part = c.piece
WHERE w.level <= p.level;

SELECT COUNT(*) || ' checks hold' AS result FROM self_check;
