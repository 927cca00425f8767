-- Robust statistics in SQL: medians, quartiles, outliers, moving averages and histograms.
--
-- Problem: response times are skewed; a few very slow requests spoil every mean. The summary
-- below is built on ranks. A quantile q lies at position 1 + q * (n - 1) of the sorted values;
-- between two positions it is interpolated. Outliers are values more than one and a half
-- quartile distances outside the middle half (Tukey's rule).

CREATE TABLE measurement (
    service TEXT    NOT NULL,
    minute  INTEGER NOT NULL,
    millis  REAL    NOT NULL CHECK (millis >= 0),
    PRIMARY KEY (service, minute)
);

-- A repeatable series: a slow wave, a pseudo-random part, and a jump every 40 minutes.
INSERT INTO measurement
WITH RECURSIVE step (minute, state) AS (
    SELECT 0, 17
    UNION ALL
    SELECT minute + 1, (state * 75 + 74) % 65537 FROM step WHERE minute < 239
)
SELECT 'search', minute,
       100 + abs(minute % 60 - 30) + state % 20 + CASE WHEN minute % 40 = 39 THEN 900 ELSE 0 END
FROM step
UNION ALL
SELECT 'login', minute, 20 + state % 7 FROM step WHERE minute % 2 = 0;

INSERT INTO measurement VALUES ('tiny', 1, 1), ('tiny', 2, 2), ('tiny', 3, 4), ('tiny', 4, 10);

CREATE VIEW ranked AS
SELECT service, minute, millis,
       ROW_NUMBER() OVER (PARTITION BY service ORDER BY millis) AS position,
       COUNT(*)     OVER (PARTITION BY service)                 AS n
FROM measurement;

-- The wanted quantiles. Both neighbours of the exact position are weighted by closeness; if
-- the position is a whole number, the upper neighbour has weight zero.
CREATE VIEW quantile AS
WITH wanted (q) AS (VALUES (0.0), (0.25), (0.5), (0.75), (0.95), (1.0)),
located AS (
    SELECT r.service, w.q, r.position, r.millis, 1 + w.q * (r.n - 1) AS exact
    FROM ranked AS r CROSS JOIN wanted AS w
)
SELECT service, q, SUM(millis * (1 - abs(exact - position))) AS millis
FROM located
WHERE abs(exact - position) < 1
GROUP BY service, q;

CREATE VIEW summary AS
SELECT service,
       MAX(CASE WHEN q = 0.0  THEN millis END) AS lowest,
       MAX(CASE WHEN q = 0.25 THEN millis END) AS quartile_1,
       MAX(CASE WHEN q = 0.5  THEN millis END) AS median,
       MAX(CASE WHEN q = 0.75 THEN millis END) AS quartile_3,
       MAX(CASE WHEN q = 0.95 THEN millis END) AS percentile_95,
       MAX(CASE WHEN q = 1.0  THEN millis END) AS highest
FROM quantile
GROUP BY service;

CREATE VIEW outlier AS
SELECT m.service, m.minute, m.millis
FROM measurement AS m
JOIN summary AS s ON s.service = m.service
WHERE m.millis > s.quartile_3 + 1.5 * (s.quartile_3 - s.quartile_1)
   OR m.millis < s.quartile_1 - 1.5 * (s.quartile_3 - s.quartile_1);

-- A moving average over ten minutes BY TIME, not by rows, since minutes may be missing; the
-- outliers are left out.
CREATE VIEW smoothed AS
SELECT service, minute, millis,
       AVG(millis) OVER (PARTITION BY service ORDER BY minute
                         RANGE BETWEEN 9 PRECEDING AND CURRENT ROW) AS average,
       COUNT(*)    OVER (PARTITION BY service ORDER BY minute
                         RANGE BETWEEN 9 PRECEDING AND CURRENT ROW) AS used
FROM measurement AS m
WHERE NOT EXISTS (SELECT 1 FROM outlier AS o
                  WHERE o.service = m.service AND o.minute = m.minute);

SELECT service, lowest, quartile_1, median, quartile_3, percentile_95, highest FROM summary;

-- A histogram of the middle part, drawn with one star for every two values.
SELECT bucket * 5 AS from_millis, COUNT(*) AS values_in_bucket,
       substr('****************************************', 1, COUNT(*) / 2) AS bar
FROM (SELECT CAST(millis / 5 AS INTEGER) AS bucket
      FROM measurement WHERE service = 'search' AND millis < 200)
GROUP BY bucket
ORDER BY bucket;

CREATE TABLE self_check (what TEXT PRIMARY KEY, holds INTEGER NOT NULL CHECK (holds = 1));

INSERT INTO self_check
SELECT 'interpolated quartiles', quartile_1 = 1.75 AND median = 3.0 AND quartile_3 = 5.5
FROM summary WHERE service = 'tiny';

INSERT INTO self_check
SELECT 'quantiles ascend', COUNT(*) = 0 FROM summary
WHERE NOT (lowest <= quartile_1 AND quartile_1 <= median AND median <= quartile_3
           AND quartile_3 <= percentile_95 AND percentile_95 <= highest);

INSERT INTO self_check
SELECT 'the jumps are the outliers', COUNT(*) = 6 AND MIN(minute % 40) = 39
FROM outlier WHERE service = 'search';

INSERT INTO self_check
SELECT 'half of the values lie below the median', abs(SUM(m.millis < s.median) - 120) <= 6
FROM measurement AS m JOIN summary AS s ON s.service = m.service
WHERE m.service = 'search';

INSERT INTO self_check
SELECT 'the window is measured in minutes', MAX(used) = 5 FROM smoothed WHERE service = 'login';

SELECT COUNT(*) || ' checks hold' AS result FROM self_check;
