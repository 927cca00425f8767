<?php
declare(strict_types=1);

/*
 * Invoice totals: discounts, several tax rates, and rounding that adds up.
 *
 * Problem: an invoice shows net, tax and gross per line, per tax rate and in total, and the
 * reader adds them up with a calculator. If every number is rounded by itself, sums differ by
 * a cent. The rules here: prices are integer cents; a discount on the whole invoice is spread
 * over the lines by largest remainder; tax is computed ONCE per rate from the sum of its
 * lines, rounded half up; and floating-point numbers are used nowhere.
 */

final class InvoiceLine {
    /**
     * @param int $quantity  thousandths, so that 1.5 hours are 1500
     * @param int $taxPermille  e.g. 190 for 19 percent
     */
    public function __construct(
        public readonly string $text,
        public readonly int $quantity,
        public readonly int $unitCents,
        public readonly int $taxPermille,
        public readonly int $discountPermille = 0,
    ) {
        if ($quantity === 0 || min($discountPermille, 1000 - $discountPermille, $taxPermille) < 0) {
            throw new InvalidArgumentException("impossible line: $text");
        }
    }

    public function netCents(): int {
        $exact = $this->quantity * $this->unitCents * (1000 - $this->discountPermille);
        return divideRounded($exact, 1_000_000);
    }
}

/** Integer division rounded to nearest, halves away from zero. */
function divideRounded(int $dividend, int $divisor): int {
    $magnitude = intdiv(abs($dividend) * 2 + $divisor, $divisor * 2);
    return $dividend < 0 ? -$magnitude : $magnitude;
}

/**
 * Split an amount in proportion to weights so that the parts add up exactly.
 *
 * @param list<int> $weights
 * @return list<int>
 */
function spread(int $amount, array $weights): array {
    $total = array_sum($weights);
    if ($total <= 0) {
        throw new DomainException('nothing to spread the amount over');
    }
    $parts = array_map(fn (int $w): int => intdiv($amount * $w, $total), $weights);
    $lost = array_map(fn (int $w): int => $amount * $w % $total, $weights);
    arsort($lost);
    $left = $amount - array_sum($parts);
    foreach (array_slice(array_keys($lost), 0, $left) as $index) {
        $parts[$index]++;
    }
    return $parts;
}

final class Invoice {
    private array $lines = [];

    public function __construct(private readonly int $discountCents = 0) {}

    public function add(InvoiceLine ...$lines): self {
        array_push($this->lines, ...$lines);
        return $this;
    }

    /**
     * All numbers of the invoice; the array is ready to be printed.
     *
     * @return array{lines: list<array>, taxes: array<int, array>, net: int, gross: int}
     */
    public function totals(): array {
        $nets = array_map(fn (InvoiceLine $line): int => $line->netCents(), $this->lines);
        if ($this->discountCents > array_sum($nets)) {
            throw new DomainException('the discount exceeds the invoice');
        }
        $discounts = $this->discountCents > 0
            ? spread($this->discountCents, array_map(fn (int $n): int => max($n, 0), $nets))
            : array_fill(0, count($nets), 0);

        $rows = [];
        $taxes = [];
        foreach ($this->lines as $i => $line) {
            $net = $nets[$i] - $discounts[$i];
            $rows[] = ['text' => $line->text, 'net' => $net, 'rate' => $line->taxPermille];
            $taxes[$line->taxPermille]['net'] = ($taxes[$line->taxPermille]['net'] ?? 0) + $net;
        }
        krsort($taxes);
        foreach ($taxes as $rate => $group) {
            $taxes[$rate]['tax'] = divideRounded($group['net'] * $rate, 1000);
        }
        $net = array_sum(array_column($rows, 'net'));
        $tax = array_sum(array_column($taxes, 'tax'));
        return ['lines' => $rows, 'taxes' => $taxes, 'net' => $net, 'gross' => $net + $tax];
    }

    public function render(): string {
        $totals = $this->totals();
        $out = '';
        foreach ($totals['lines'] as $row) {
            $out .= sprintf("%-33s %12s\n", $row['text'], self::euro($row['net']));
        }
        foreach ($totals['taxes'] as $rate => $group) {
            $label = intdiv($rate, 10) . '% tax on ' . self::euro($group['net']);
            $out .= sprintf("%-33s %12s\n", $label, self::euro($group['tax']));
        }
        return $out . sprintf("%-33s %12s\n", 'To be paid', self::euro($totals['gross']));
    }

    private static function euro(int $cents): string {
        $sign = $cents < 0 ? '-' : '';
        return $sign . sprintf('%d.%02d', intdiv(abs($cents), 100), abs($cents) % 100);
    }
}

$invoice = (new Invoice(discountCents: 1000))->add(
    new InvoiceLine('Repair, hours', 1750, 6490, 190),
    new InvoiceLine('Brake cable', 3000, 333, 190, discountPermille: 100),
    new InvoiceLine('Handbook', 1000, 1999, 70),
    new InvoiceLine('Old battery returned', -1000, 500, 190), // gets no discount
);
echo $invoice->render();
$totals = $invoice->totals();
array_sum(array_column($totals['taxes'], 'net')) === $totals['net'] || exit(1);
$totals['net'] === 11358 + 899 + 1999 - 500 - 1000 || exit(2);
spread(100, [1, 1, 1]) === [34, 33, 33] || exit(3);
try {
    (new Invoice(discountCents: 50))->add(new InvoiceLine('Nut', 1000, 49, 190))->totals();
    exit(4);
} catch (DomainException $e) {
    echo $e->getMessage(), "\n";
}
