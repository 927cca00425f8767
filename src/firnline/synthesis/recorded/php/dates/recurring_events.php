<?php
declare(strict_types=1);

/*
 * Recurring events: rules such as "the last Friday of every second month" as lazy sequences.
 *
 * Problem: a calendar stores a rule instead of many dates, and shows the occurrences within a
 * window. Generators yield dates one at a time, so rules without an end are no problem.
 * Months of different length need a decision: an event on the 31st simply skips months that
 * have no such day, as calendars usually do, instead of sliding into the next month.
 */

enum Unit { case Week; case Month; }

final class Recurrence {
    private const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

    private ?DateTimeImmutable $until = null;
    private array $weekdays = []; // ISO numbers, for weekly rules
    private ?array $nth = null;   // [ordinal, weekday], for monthly rules

    private function __construct(
        private readonly DateTimeImmutable $start,
        private readonly Unit $unit,
        private readonly int $every,
    ) {
        $every >= 1 || throw new InvalidArgumentException("cannot repeat every $every");
    }

    /** Weekly on the given days; without any, on the weekday of the start. */
    public static function weekly(string $start, int $every = 1, string ...$days): self {
        $rule = new self(self::date($start), Unit::Week, $every);
        $rule->weekdays = array_map(self::weekday(...), $days) ?: [(int) $rule->start->format('N')];
        sort($rule->weekdays);
        return $rule;
    }

    public static function monthly(string $start, int $every = 1): self {
        return new self(self::date($start), Unit::Month, $every);
    }

    /** Monthly on, say, the second Tuesday; -1 stands for the last one. */
    public function onNth(int $ordinal, string $day): self {
        $ordinal !== 0 || throw new InvalidArgumentException('positions start at 1');
        return $this->with('nth', [$ordinal, self::weekday($day)]);
    }

    public function until(string $last): self {
        return $this->with('until', self::date($last));
    }

    /** All occurrences in ascending order, possibly without end. */
    public function occurrences(): Generator {
        foreach ($this->candidates() as $date) {
            if ($this->until && $date > $this->until) {
                return;
            }
            if ($date >= $this->start) {
                yield $date;
            }
        }
    }

    /** Occurrences from the first to the last day of a window, as texts. */
    public function between(string $first, string $last): array {
        $found = [];
        foreach ($this->occurrences() as $date) {
            if ($date > self::date($last)) {
                break;
            }
            if ($date >= self::date($first)) {
                $found[] = $date->format('Y-m-d');
            }
        }
        return $found;
    }

    private function candidates(): Generator {
        $monday = $this->start->modify('-' . ((int) $this->start->format('N') - 1) . ' days');
        $month = $this->start->modify('first day of this month');
        for ($step = 0; $step < 100_000; $step += $this->every) {
            if ($this->unit === Unit::Week) {
                foreach ($this->weekdays as $weekday) {
                    yield $monday->modify('+' . ($step * 7 + $weekday - 1) . ' days');
                }
            } elseif ($date = $this->dayIn($month->modify("+$step months"))) {
                yield $date;
            }
        }
    }

    /** The day of the rule in one month, or null if the month has no such day. */
    private function dayIn(DateTimeImmutable $first): ?DateTimeImmutable {
        $length = (int) $first->format('t');
        $day = (int) $this->start->format('j');
        if ($this->nth !== null) {
            [$ordinal, $weekday] = $this->nth;
            $earliest = 1 + ($weekday - (int) $first->format('N') + 7) % 7;
            $count = intdiv($length - $earliest, 7) + 1;
            $day = $earliest + 7 * ($ordinal > 0 ? $ordinal - 1 : $count + $ordinal);
        }
        return $day >= 1 && $day <= $length ? $first->modify('+' . ($day - 1) . ' days') : null;
    }

    private function with(string $property, mixed $value): self {
        $copy = clone $this;
        $copy->$property = $value;
        return $copy;
    }

    private static function date(string $text): DateTimeImmutable {
        $date = DateTimeImmutable::createFromFormat('!Y-m-d', $text, new DateTimeZone('UTC'));
        $valid = $date && $date->format('Y-m-d') === $text;
        return $valid ? $date : throw new InvalidArgumentException("no date: $text");
    }

    private static function weekday(string $name): int {
        $index = array_search($name, self::WEEKDAYS, true);
        return $index === false ? throw new InvalidArgumentException($name) : $index + 1;
    }
}

function expect(array $actual, string $wanted): void {
    echo implode(' ', $actual), "\n";
    implode(' ', $actual) === $wanted || throw new LogicException("wanted $wanted");
}

$ends = Recurrence::monthly('2024-01-31');
expect($ends->between('2024-01-01', '2024-06-30'), '2024-01-31 2024-03-31 2024-05-31');
$meeting = Recurrence::monthly('2024-01-01', 2)->onNth(-1, 'Fri');
expect($meeting->between('2024-01-27', '2024-08-01'), '2024-03-29 2024-05-31 2024-07-26');
$class = Recurrence::weekly('2024-05-01', 2, 'Fri', 'Mon')->until('2024-05-27');
expect($class->between('2024-01-01', '2030-01-01'), '2024-05-03 2024-05-13 2024-05-17 2024-05-27');
$fifth = Recurrence::monthly('2024-01-01')->onNth(5, 'Thu');
expect($fifth->between('2024-01-01', '2024-06-01'), '2024-02-29 2024-05-30');
$yearly = Recurrence::monthly('2024-02-29', 12)->until('2032-12-31');
expect($yearly->between('2024-01-01', '2040-01-01'), '2024-02-29 2028-02-29 2032-02-29');
