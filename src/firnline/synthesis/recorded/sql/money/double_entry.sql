-- Double-entry bookkeeping with immutable entries and statements derived by views.
--
-- Problem: balances that are stored and updated drift away from the records that explain
-- them. Here only postings are stored. Each entry moves money between accounts and must sum
-- to zero; it is drafted line by line and then closed. The closing trigger refuses entries
-- that do not balance, and closed entries cannot be changed, only reversed by another entry.
-- Amounts are integer cents; debit is positive, credit is negative.

CREATE TABLE account (
    code TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('asset', 'liability', 'equity', 'income', 'expense'))
);

CREATE TABLE entry (
    id       INTEGER PRIMARY KEY,
    day      TEXT    NOT NULL CHECK (day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'),
    note     TEXT    NOT NULL,
    closed   INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)),
    reverses INTEGER UNIQUE REFERENCES entry (id)
);

CREATE TABLE posting (
    entry INTEGER NOT NULL REFERENCES entry (id),
    code  TEXT    NOT NULL REFERENCES account (code),
    cents INTEGER NOT NULL CHECK (cents <> 0),
    PRIMARY KEY (entry, code)
);

CREATE TABLE problem (entry INTEGER, message TEXT);

-- An entry may be closed only if it balances; otherwise it stays a draft.
CREATE TRIGGER entry_close
BEFORE UPDATE OF closed ON entry
WHEN NEW.closed = 1
 AND (SELECT COALESCE(SUM(cents), 1) FROM posting WHERE entry = NEW.id) <> 0
BEGIN
    INSERT INTO problem
    SELECT NEW.id, 'out of balance by ' || COALESCE(SUM(cents), 0) || ' cents'
    FROM posting WHERE entry = NEW.id;
    SELECT RAISE(IGNORE);
END;

CREATE TRIGGER posting_frozen_update
BEFORE UPDATE ON posting
WHEN (SELECT closed FROM entry WHERE id = OLD.entry) = 1
BEGIN
    INSERT INTO problem VALUES (OLD.entry, 'closed entries cannot be changed');
    SELECT RAISE(IGNORE);
END;

CREATE TRIGGER posting_frozen_insert
BEFORE INSERT ON posting
WHEN (SELECT closed FROM entry WHERE id = NEW.entry) = 1
BEGIN
    INSERT INTO problem VALUES (NEW.entry, 'closed entries cannot be extended');
    SELECT RAISE(IGNORE);
END;

-- Naming an entry to be reversed copies its postings with the opposite sign.
CREATE TRIGGER entry_reversal
AFTER INSERT ON entry
WHEN NEW.reverses IS NOT NULL
BEGIN
    INSERT INTO posting SELECT NEW.id, code, -cents FROM posting WHERE entry = NEW.reverses;
    UPDATE entry SET closed = 1 WHERE id = NEW.id;
END;

-- Balance of every account over closed entries.
CREATE VIEW balance AS
SELECT a.code, a.name, a.kind,
       COALESCE(SUM(CASE WHEN e.closed = 1 THEN p.cents END), 0) AS cents
FROM account AS a
LEFT JOIN posting AS p ON p.code = a.code
LEFT JOIN entry AS e ON e.id = p.entry
GROUP BY a.code, a.name, a.kind;

-- An account sheet with a running balance.
CREATE VIEW sheet AS
SELECT p.code, e.day, e.note, p.cents,
       SUM(p.cents) OVER (PARTITION BY p.code ORDER BY e.day, e.id) AS running
FROM posting AS p
JOIN entry AS e ON e.id = p.entry
WHERE e.closed = 1;

INSERT INTO account VALUES
    ('1000', 'Bank', 'asset'), ('1200', 'Customers', 'asset'), ('2000', 'Suppliers', 'liability'),
    ('2300', 'Sales tax', 'liability'), ('3000', 'Capital', 'equity'),
    ('4000', 'Sales', 'income'), ('5000', 'Rent', 'expense');

INSERT INTO entry (id, day, note) VALUES
    (1, '2024-01-02', 'Opening'), (2, '2024-01-15', 'Invoice 17'), (3, '2024-01-20', 'Rent'),
    (4, '2024-01-28', 'Payment of invoice 17'), (5, '2024-01-31', 'Wrong by a digit');
INSERT INTO posting VALUES
    (1, '1000', 500000), (1, '3000', -500000),
    (2, '1200', 119000), (2, '4000', -100000), (2, '2300', -19000),
    (3, '5000', 80000), (3, '1000', -80000),
    (4, '1000', 119000), (4, '1200', -119000),
    (5, '5000', 12500), (5, '1000', -15200);
UPDATE entry SET closed = 1;

UPDATE posting SET cents = 1 WHERE entry = 3;                    -- refused twice
INSERT INTO posting VALUES (1, '5000', 700);                     -- refused
INSERT INTO entry (id, day, note, reverses) VALUES (6, '2024-02-01', 'Rent was refunded', 3);

SELECT code, name, cents / 100.0 AS amount FROM balance WHERE cents <> 0 ORDER BY code;
SELECT day, note, cents / 100.0 AS amount, running / 100.0 AS balance FROM sheet
WHERE code = '1000' ORDER BY day;
SELECT * FROM problem ORDER BY entry, message;

CREATE TABLE self_check (what TEXT PRIMARY KEY, holds INTEGER NOT NULL CHECK (holds = 1));
INSERT INTO self_check SELECT 'the books balance', SUM(cents) = 0 FROM balance;
INSERT INTO self_check SELECT 'bank', cents = 619000 FROM balance WHERE code = '1000';
INSERT INTO self_check SELECT 'rent was reversed', cents = 0 FROM balance WHERE code = '5000';
INSERT INTO self_check SELECT 'entry 5 is a draft', closed = 0 FROM entry WHERE id = 5;
INSERT INTO self_check SELECT 'four problems', COUNT(*) = 4 FROM problem;
INSERT INTO self_check
SELECT 'last running balance', running = 619000 FROM sheet
WHERE code = '1000' ORDER BY day DESC LIMIT 1;
SELECT COUNT(*) || ' checks hold' AS result FROM self_check;
