-- Room bookings without overlaps, and a search for free time.
--
-- Problem: two bookings of one room must not overlap, also when they come from different
-- programs; so the database itself has to refuse them. Half-open times [start, finish) let one
-- booking begin at the minute at which another ends. Two stretches overlap exactly if each
-- begins before the other ends. Free slots are the gaps between consecutive bookings within
-- the opening hours, found with LAG over the ordered bookings.
--
-- Times are minutes since midnight, e.g. 9:30 = 570.

CREATE TABLE room (
    room    TEXT PRIMARY KEY,
    seats   INTEGER NOT NULL CHECK (seats > 0),
    opens   INTEGER NOT NULL DEFAULT 480,
    closes  INTEGER NOT NULL DEFAULT 1080,
    CHECK (0 <= opens AND opens < closes AND closes <= 1440)
);

CREATE TABLE booking (
    id     INTEGER PRIMARY KEY,
    room   TEXT    NOT NULL REFERENCES room (room),
    day    TEXT    NOT NULL,
    start  INTEGER NOT NULL,
    finish INTEGER NOT NULL,
    people INTEGER NOT NULL CHECK (people > 0),
    title  TEXT    NOT NULL,
    CHECK (start < finish)
);
CREATE INDEX booking_by_time ON booking (room, day, start);

CREATE TABLE rejection (room TEXT, day TEXT, start INTEGER, title TEXT, reason TEXT);

-- The reason why a booking is impossible; the first rule that applies is reported.
CREATE TRIGGER booking_rules
BEFORE INSERT ON booking
WHEN EXISTS (SELECT 1 FROM booking AS b
             WHERE b.room = NEW.room AND b.day = NEW.day
               AND b.start < NEW.finish AND NEW.start < b.finish)
  OR EXISTS (SELECT 1 FROM room AS r
             WHERE r.room = NEW.room
               AND (NEW.people > r.seats OR NEW.start < r.opens OR NEW.finish > r.closes))
BEGIN
    INSERT INTO rejection
    SELECT NEW.room, NEW.day, NEW.start, NEW.title,
           CASE
               WHEN NEW.people > r.seats THEN 'only ' || r.seats || ' seats'
               WHEN NEW.start < r.opens OR NEW.finish > r.closes THEN 'outside opening hours'
               ELSE 'overlaps "' || (SELECT b.title FROM booking AS b
                                     WHERE b.room = NEW.room AND b.day = NEW.day
                                       AND b.start < NEW.finish AND NEW.start < b.finish
                                     ORDER BY b.start LIMIT 1) || '"'
           END
    FROM room AS r WHERE r.room = NEW.room;
    SELECT RAISE(IGNORE);
END;

-- Gaps per room and day. The day's end is added as an empty booking at closing time, so that
-- the last gap needs no special case; days are those on which anything is booked anywhere.
CREATE VIEW free_slot AS
WITH edge (room, day, start, finish) AS (
    SELECT room, day, start, finish FROM booking
    UNION ALL
    SELECT r.room, d.day, r.closes, r.closes
    FROM room AS r CROSS JOIN (SELECT DISTINCT day FROM booking) AS d
), gap (room, day, start, finish) AS (
    SELECT e.room, e.day,
           COALESCE(LAG(e.finish) OVER (PARTITION BY e.room, e.day ORDER BY e.start, e.finish),
                    r.opens),
           e.start
    FROM edge AS e JOIN room AS r ON r.room = e.room
)
SELECT room, day, start, finish, finish - start AS minutes FROM gap WHERE finish > start;

INSERT INTO room (room, seats) VALUES ('Oak', 12), ('Elm', 4);
INSERT INTO room VALUES ('Hall', 80, 600, 1320);

INSERT INTO booking (room, day, start, finish, people, title) VALUES
    ('Oak', '2024-05-06', 540, 600, 8, 'Planning'),
    ('Oak', '2024-05-06', 600, 660, 6, 'Interview'),      -- touches, does not overlap
    ('Oak', '2024-05-06', 570, 615, 5, 'Coffee'),         -- overlaps two bookings
    ('Oak', '2024-05-06', 900, 1080, 12, 'Workshop'),
    ('Elm', '2024-05-06', 480, 1080, 3, 'Audit'),
    ('Elm', '2024-05-07', 480, 540, 9, 'Choir'),          -- too many people
    ('Hall', '2024-05-07', 560, 640, 50, 'Breakfast'),    -- not open yet
    ('Hall', '2024-05-07', 1140, 1320, 75, 'Concert');

-- Where can ten people meet for two hours?
SELECT f.day, f.room, printf('%02d:%02d', f.start / 60, f.start % 60) AS earliest, f.minutes
FROM free_slot AS f
JOIN room AS r ON r.room = f.room
WHERE f.minutes >= 120 AND r.seats >= 10
ORDER BY f.day, f.start, r.seats;

-- How much of its opening time was each room used?
SELECT r.room,
       ROUND(100.0 * SUM(COALESCE(b.finish - b.start, 0)) / (r.closes - r.opens)
             / (SELECT COUNT(DISTINCT day) FROM booking)) AS percent_used
FROM room AS r LEFT JOIN booking AS b ON b.room = r.room
GROUP BY r.room, r.opens, r.closes
ORDER BY r.room;

SELECT title, reason FROM rejection ORDER BY title;

CREATE TABLE self_check (what TEXT PRIMARY KEY, holds INTEGER NOT NULL CHECK (holds = 1));

INSERT INTO self_check SELECT 'five accepted', COUNT(*) = 5 FROM booking;

INSERT INTO self_check
SELECT 'reasons', group_concat(reason, '; ')
       = 'only 4 seats; outside opening hours; overlaps "Planning"'
FROM (SELECT reason FROM rejection ORDER BY reason);

INSERT INTO self_check
SELECT 'gaps of Oak', group_concat(start || '-' || finish, ' ') = '480-540 660-900'
FROM (SELECT start, finish FROM free_slot
      WHERE room = 'Oak' AND day = '2024-05-06' ORDER BY start);

INSERT INTO self_check
SELECT 'free and booked time add up', SUM(minutes)
       + (SELECT SUM(finish - start) FROM booking) = 2 * (600 + 600 + 720)
FROM free_slot;

SELECT COUNT(*) || ' checks hold' AS result FROM self_check;
