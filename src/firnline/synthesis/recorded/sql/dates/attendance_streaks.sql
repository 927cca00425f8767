-- Streaks and absences: finding runs of consecutive days ("gaps and islands").
--
-- Problem: a school records the days on which each pupil attended. Wanted are the longest
-- unbroken streaks, the absences and their lengths; weekends and holidays must neither break
-- a streak nor count as an absence. A calendar table numbers the school days 1, 2, 3, ...
-- In an unbroken run this number grows as fast as the row number of the pupil's attendances,
-- so their difference is constant in a run and identifies it.

CREATE TABLE holiday (day TEXT PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO holiday VALUES ('2024-05-01', 'May Day'), ('2024-05-09', 'Ascension');

-- All days of the term that are neither weekend nor holiday, numbered without gaps.
CREATE TABLE school_day (number INTEGER PRIMARY KEY, day TEXT NOT NULL UNIQUE);
INSERT INTO school_day (number, day)
WITH RECURSIVE calendar (day) AS (
    SELECT date('2024-04-22')
    UNION ALL
    SELECT date(day, '+1 day') FROM calendar WHERE day < '2024-05-17'
)
SELECT ROW_NUMBER() OVER (ORDER BY day), day
FROM calendar
WHERE CAST(strftime('%w', day) AS INTEGER) BETWEEN 1 AND 5
  AND day NOT IN (SELECT day FROM holiday);

CREATE TABLE attendance (
    pupil TEXT NOT NULL,
    day   TEXT NOT NULL REFERENCES school_day (day),
    PRIMARY KEY (pupil, day)
);

-- Everybody attends always, except on the days listed here.
CREATE TABLE missed (pupil TEXT, day TEXT);
INSERT INTO missed VALUES
    ('Ben', '2024-04-30'), ('Ben', '2024-05-02'), ('Ben', '2024-05-03'), ('Ben', '2024-05-06'),
    ('Cleo', '2024-05-15'), ('Cleo', '2024-05-16'), ('Cleo', '2024-05-17');
INSERT INTO attendance
SELECT p.pupil, s.day
FROM (SELECT 'Ada' AS pupil UNION SELECT 'Ben' UNION SELECT 'Cleo') AS p
CROSS JOIN school_day AS s
WHERE NOT EXISTS (SELECT 1 FROM missed AS m WHERE m.pupil = p.pupil AND m.day = s.day);

CREATE VIEW streak AS
WITH marked AS (
    SELECT a.pupil, s.day, s.number,
           s.number - ROW_NUMBER() OVER (PARTITION BY a.pupil ORDER BY s.number) AS run
    FROM attendance AS a
    JOIN school_day AS s ON s.day = a.day
)
SELECT pupil, MIN(day) AS first_day, MAX(day) AS last_day, COUNT(*) AS days,
       MIN(number) AS first_number, MAX(number) AS last_number
FROM marked
GROUP BY pupil, run;

-- An absence is the space between one streak and the next, or the end of the term. The end is
-- the number after the last school day.
CREATE VIEW absence AS
WITH bounds AS (
    SELECT pupil, last_number + 1 AS starts,
           LEAD(first_number, 1, (SELECT MAX(number) + 1 FROM school_day))
               OVER (PARTITION BY pupil ORDER BY first_number) AS ends
    FROM streak
    UNION ALL
    SELECT pupil, 1, MIN(first_number) FROM streak GROUP BY pupil
)
SELECT b.pupil, f.day AS first_day, l.day AS last_day, b.ends - b.starts AS days
FROM bounds AS b
JOIN school_day AS f ON f.number = b.starts
JOIN school_day AS l ON l.number = b.ends - 1
WHERE b.ends > b.starts;

-- The longest streak of each pupil; the earlier one if two are equally long.
CREATE VIEW best_streak AS
SELECT pupil, first_day, last_day, days
FROM (SELECT s.*, ROW_NUMBER() OVER (PARTITION BY pupil ORDER BY days DESC, first_day) AS place
      FROM streak AS s)
WHERE place = 1;

SELECT * FROM best_streak ORDER BY days DESC;
SELECT pupil, first_day, last_day, days FROM absence ORDER BY pupil, first_day;

-- Whom should the office call? Three or more school days away in a row, up to the present.
SELECT pupil, days AS days_away
FROM absence
WHERE days >= 3 AND last_day = (SELECT MAX(day) FROM school_day);

CREATE TABLE self_check (what TEXT PRIMARY KEY, holds INTEGER NOT NULL CHECK (holds = 1));

INSERT INTO self_check
SELECT 'school days of the term', COUNT(*) = 18 AND SUM(day = '2024-05-09') = 0 FROM school_day;

INSERT INTO self_check
SELECT 'a holiday does not break a streak', days = 18 FROM best_streak WHERE pupil = 'Ada';

INSERT INTO self_check
SELECT 'an absence goes on over a holiday and a weekend',
       days = 4 AND first_day = '2024-04-30' AND last_day = '2024-05-06'
FROM absence WHERE pupil = 'Ben';

INSERT INTO self_check
SELECT 'streaks and absences cover the term',
       (SELECT SUM(days) FROM streak) + (SELECT SUM(days) FROM absence) = 3 * 18;

INSERT INTO self_check
SELECT 'Cleo is away at the end', COUNT(*) = 1 AND MAX(days) = 3
FROM absence WHERE pupil = 'Cleo' AND last_day = '2024-05-17';

SELECT COUNT(*) || ' checks hold' AS result FROM self_check;
