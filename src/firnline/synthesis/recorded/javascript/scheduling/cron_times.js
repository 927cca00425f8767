'use strict';
/*
 * Next run times for five-field timetable expressions ("minute hour day month weekday").
 *
 * Problem: a job runner must know when to wake up next. Testing every minute of the coming
 * years is slow for rare schedules such as the 29th of February. Instead each field is
 * expanded to a sorted list of allowed values, and the search jumps directly to the next
 * allowed month, day, hour and minute. All arithmetic is done in UTC.
 *
 * As in the classic tool, when both the day of month and the weekday are restricted, a day
 * matches if EITHER of them matches.
 */
const assert = require('node:assert');

const FIELDS = [
  { name: 'minute', low: 0, high: 59 },
  { name: 'hour', low: 0, high: 23 },
  { name: 'day', low: 1, high: 31 },
  { name: 'month', low: 1, high: 12 },
  { name: 'weekday', low: 0, high: 6 },
];
const YEARS_AHEAD = 8; // covers the gap between leap years around a century

/** Expand one field such as "1-5,30/10" into a Set of integers. */
function expandField(text, { name, low, high }) {
  const allowed = new Set();
  for (const part of text.split(',')) {
    const match = /^(\*|(\d+)(?:-(\d+))?)(?:\/(\d+))?$/.exec(part);
    if (!match) throw new SyntaxError(`bad ${name} field: "${part}"`);
    const step = match[4] === undefined ? 1 : Number(match[4]);
    let from = low;
    let to = high;
    if (match[1] !== '*') {
      from = Number(match[2]);
      if (match[3] !== undefined) to = Number(match[3]);
      else if (match[4] === undefined) to = from;
    }
    if (step === 0 || from < low || to > high || from > to) {
      throw new RangeError(`${name} out of range: "${part}"`);
    }
    for (let value = from; value <= to; value += step) allowed.add(value);
  }
  return allowed;
}

class Timetable {
  constructor(expression) {
    const parts = expression.trim().split(/\s+/);
    if (parts.length !== FIELDS.length) {
      throw new SyntaxError(`expected ${FIELDS.length} fields, got ${parts.length}`);
    }
    const sets = parts.map((part, i) => expandField(part, FIELDS[i]));
    [this.minutes, this.hours, this.days, this.months, this.weekdays] = sets;
    this.anyDay = parts[2] === '*';
    this.anyWeekday = parts[4] === '*';
  }

  /** True when the calendar day of `date` is one on which the job may run. */
  matchesDay(date) {
    const byDay = this.days.has(date.getUTCDate());
    const byWeekday = this.weekdays.has(date.getUTCDay());
    if (this.anyDay) return byWeekday;
    if (this.anyWeekday) return byDay;
    return byDay || byWeekday;
  }

  /** The first moment strictly after `after`, or null when no such date exists. */
  next(after) {
    const t = new Date(after.getTime());
    t.setUTCSeconds(0, 0);
    t.setUTCMinutes(t.getUTCMinutes() + 1);
    const limit = t.getUTCFullYear() + YEARS_AHEAD;
    while (t.getUTCFullYear() <= limit) {
      if (!this.months.has(t.getUTCMonth() + 1)) {
        t.setUTCMonth(t.getUTCMonth() + 1, 1);
        t.setUTCHours(0, 0);
      } else if (!this.matchesDay(t)) {
        t.setUTCDate(t.getUTCDate() + 1);
        t.setUTCHours(0, 0);
      } else if (!this.hours.has(t.getUTCHours())) {
        t.setUTCHours(t.getUTCHours() + 1, 0);
      } else if (!this.minutes.has(t.getUTCMinutes())) {
        t.setUTCMinutes(t.getUTCMinutes() + 1);
      } else {
        return t;
      }
    }
    return null;
  }

  /** Lazily list run times; combine with a loop that stops by count or by date. */
  *from(start) {
    for (let t = this.next(start); t !== null; t = this.next(t)) yield t;
  }
}

function firstRuns(expression, start, count) {
  const runs = [];
  for (const t of new Timetable(expression).from(new Date(start))) {
    runs.push(t.toISOString().slice(0, 16));
    if (runs.length === count) break;
  }
  return runs;
}

function main() {
  assert.deepStrictEqual(firstRuns('*/20 9-10 * * 1-5', '2024-03-01T10:25:00Z', 3),
    ['2024-03-01T10:40', '2024-03-04T09:00', '2024-03-04T09:20']);
  assert.deepStrictEqual(firstRuns('0 0 29 2 *', '2024-03-01T00:00:00Z', 2),
    ['2028-02-29T00:00', '2032-02-29T00:00']);
  // Both day fields restricted: the 13th of the month OR any Friday.
  assert.deepStrictEqual(firstRuns('30 6 13 * 5', '2024-08-09T06:30:00Z', 3),
    ['2024-08-13T06:30', '2024-08-16T06:30', '2024-08-23T06:30']);
  assert.strictEqual(new Timetable('0 0 31 2 *').next(new Date(0)), null);
  assert.throws(() => new Timetable('61 * * * *'), /minute out of range/);
  assert.throws(() => new Timetable('* * *'), /expected 5 fields/);
  console.log(firstRuns('15 4 1 */3 *', '2025-01-15T00:00:00Z', 4).join('\n'));
}

main();
