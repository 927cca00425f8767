/*
 * Exact money arithmetic with currencies, and fair division of a total.
 *
 * Problem: 100.00 divided among three partners is 33.33 each, and one cent is lost.
 * Amounts are kept as integers of
 * the smallest unit (bigint, so no rounding surprises), and division uses the "largest
 * remainder" rule: everybody gets the rounded-down share, then the left-over units go to
 * those who lost the largest fraction, earliest first among equals.
 *
 * The currency is part of the TYPE, so adding euros to yen does not compile.
 */
import { strict as assert } from "node:assert";

/** Digits after the decimal point for each supported currency. */
const MINOR_DIGITS = { EUR: 2, JPY: 0, KWD: 3 } as const;
type Currency = keyof typeof MINOR_DIGITS;

class Money<C extends Currency> {
  private constructor(readonly units: bigint, readonly currency: C) {}

  /** Parse "-1,234.5"; more decimals than the currency has are an error, not rounded. */
  static parse<C extends Currency>(text: string, currency: C): Money<C> {
    const match = /^(-?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?$/.exec(text.trim());
    if (match === null) throw new SyntaxError(`not an amount: "${text}"`);
    const digits: number = MINOR_DIGITS[currency];
    const [, sign, whole, fraction = ""] = match;
    if (fraction.length > digits) {
      throw new RangeError(`${currency} has ${digits} decimals, "${text}" has more`);
    }
    const magnitude = BigInt(whole.replaceAll(",", "") + fraction.padEnd(digits, "0"));
    return new Money(sign === "-" ? -magnitude : magnitude, currency);
  }

  plus(other: Money<C>): Money<C> {
    return new Money(this.units + other.units, this.currency);
  }

  minus(other: Money<C>): Money<C> {
    return new Money(this.units - other.units, this.currency);
  }

  /**
   * A percentage given in basis points (1950 = 19.5 %), rounded half to even, so that
   * long columns of taxes do not drift upwards.
   */
  basisPoints(points: bigint): Money<C> {
    const scaled = this.units * points;
    const negative = scaled < 0n;
    const magnitude = negative ? -scaled : scaled;
    let quotient = magnitude / 10_000n;
    const twice = (magnitude % 10_000n) * 2n;
    if (twice > 10_000n || (twice === 10_000n && quotient % 2n === 1n)) quotient += 1n;
    return new Money(negative ? -quotient : quotient, this.currency);
  }

  /** Split in proportion to integer weights; the parts always add up to this amount. */
  allocate(weights: readonly bigint[]): Money<C>[] {
    const total = weights.reduce((sum, weight) => sum + weight, 0n);
    if (total <= 0n || weights.some((weight) => weight < 0n)) {
      throw new RangeError("weights must be non-negative and not all zero");
    }
    const sign = this.units < 0n ? -1n : 1n;
    const magnitude = this.units * sign;
    const parts = weights.map((weight, index) => ({
      index,
      share: (magnitude * weight) / total,
      lost: (magnitude * weight) % total,
    }));
    let left = magnitude - parts.reduce((sum, part) => sum + part.share, 0n);
    const byLoss = [...parts].sort((a, b) =>
      a.lost === b.lost ? a.index - b.index : a.lost > b.lost ? -1 : 1);
    for (const part of byLoss) {
      if (left === 0n) break;
      part.share += 1n;
      left -= 1n;
    }
    return parts.map((part) => new Money(part.share * sign, this.currency));
  }

  toString(): string {
    const digits: number = MINOR_DIGITS[this.currency];
    const sign = this.units < 0n ? "-" : "";
    const padded = String(this.units < 0n ? -this.units : this.units).padStart(digits + 1, "0");
    const cut = padded.length - digits;
    const whole = padded.slice(0, cut).replace(/\B(?=(\d{3})+$)/g, ",");
    const fraction = digits > 0 ? `.${padded.slice(cut)}` : "";
    return `${sign}${whole}${fraction} ${this.currency}`;
  }
}

/** Divide a restaurant bill by what each guest ordered, sharing the tip in proportion. */
function splitBill<C extends Currency>(orders: Money<C>[], tip: Money<C>): Money<C>[] {
  const tips = tip.allocate(orders.map((order) => order.units));
  return orders.map((order, index) => order.plus(tips[index]));
}

function main(): void {
  const thirds = Money.parse("100", "EUR").allocate([1n, 1n, 1n]);
  assert.deepEqual(thirds.map(String), ["33.34 EUR", "33.33 EUR", "33.33 EUR"]);

  const debt = Money.parse("-0.05", "EUR").allocate([3n, 7n, 0n]);
  assert.deepEqual(debt.map(String), ["-0.02 EUR", "-0.03 EUR", "0.00 EUR"]);

  assert.equal(String(Money.parse("0.50", "EUR").basisPoints(500n)), "0.02 EUR");
  assert.equal(String(Money.parse("0.70", "EUR").basisPoints(500n)), "0.04 EUR");
  assert.equal(String(Money.parse("1,234,567", "JPY")), "1,234,567 JPY");
  assert.throws(() => Money.parse("1.5", "JPY"), /JPY has 0 decimals/);
  assert.throws(() => Money.parse("12,34", "EUR"), SyntaxError);
  // @ts-expect-error euros and yen are different types
  Money.parse("1", "EUR").plus(Money.parse("1", "JPY"));

  const orders = ["23.90", "18.50", "31.00"].map((text) => Money.parse(text, "EUR"));
  const shares = splitBill(orders, Money.parse("10.00", "EUR"));
  console.log(shares.map(String).join(" | "));
  const sum = shares.reduce((a, b) => a.plus(b));
  assert.equal(String(sum.minus(Money.parse("10", "EUR"))), "73.40 EUR");
}

main();
