/*
 * A small spreadsheet engine: formulas, dependencies, and recalculation on demand.
 *
 * Problem: cell C1 may hold "=A1*2+SUM(B1:B9)". When A1 changes, so must all cells that depend
 * on it, and a circle such as A1 -> B1 -> A1 must be reported, not looped over.
 * Values are computed lazily and memoised; changing a cell clears the memo of the cells
 * downstream, found in the reverse dependency map. Errors are values and spread to readers.
 */
import { strict as assert } from "node:assert";

type Value = number | { error: string };
type Expr = (read: (cell: string) => number) => number;
type Compiled = { refs: string[]; evaluate: Expr };

class FormulaError extends Error {}
/** All names in a one-column range such as B2:B9. */
function expandRange(from: string, to: string): string[] {
  const [first, last] = [Number(from.slice(1)), Number(to.slice(1))];
  return Array.from({ length: last - first + 1 }, (_, i) => from[0] + (first + i));
}

const FUNCTIONS: Record<string, (args: number[]) => number> = {
  SUM: (args) => args.reduce((a, b) => a + b, 0),
  MAX: (args) => Math.max(...args),
};

const LEVEL: Record<string, number> = { "+": 1, "-": 1, "*": 2, "/": 2 };
function calculate(operator: string, a: number, b: number): number {
  if (operator === "/" && b === 0) throw new FormulaError("division by zero");
  return operator === "+" ? a + b : operator === "-" ? a - b : operator === "*" ? a * b : a / b;
}

/** Precedence climbing over the tokens; builds closures instead of a syntax tree. */
function compile(source: string): Compiled {
  const tokens = source.match(/[A-Z]+\d+|[A-Z]+|\d+(\.\d+)?|\S/g) ?? [];
  const refs: string[] = [];
  let at = 0;

  const fail = (wanted: string): never => {
    throw new FormulaError(`${wanted} expected at "${tokens[at] ?? "end"}"`);
  };
  const expect = (mark: string): void => { tokens[at] === mark ? at += 1 : fail(mark); };
  const cellName = () => (/^[A-Z]\d+$/.test(tokens[at] ?? "") ? tokens[at++] : fail("cell"));

  function expression(minLevel: number): Expr {
    let left = operand();
    for (;;) {
      const operator = tokens[at] ?? "end";
      if (!((LEVEL[operator] ?? 0) >= minLevel)) return left;
      at += 1;
      const [a, b] = [left, expression(LEVEL[operator] + 1)];
      left = (read) => calculate(operator, a(read), b(read));
    }
  }
  function operand(): Expr {
    const token = tokens[at] ?? "end";
    if (/^\d/.test(token)) { at += 1; return () => Number(token); }
    if (token === "-") { at += 1; const inner = operand(); return (read) => -inner(read); }
    if (token === "(") { at += 1; const inner = expression(1); expect(")"); return inner; }
    if (token in FUNCTIONS) { at += 1; return call(FUNCTIONS[token]); }
    const cell = refs[refs.push(cellName()) - 1];
    return (read) => read(cell);
  }
  function call(fn: (args: number[]) => number): Expr {
    expect("(");
    const from = cellName();
    expect(":");
    const cells = expandRange(from, cellName());
    refs.push(...cells);
    expect(")");
    return (read) => fn(cells.map(read));
  }

  const evaluate = expression(1);
  if (at < tokens.length) throw new FormulaError(`unexpected "${tokens[at]}"`);
  return { refs, evaluate };
}

class Sheet {
  private formulas = new Map<string, Compiled>();
  private readers = new Map<string, Set<string>>();
  private memo = new Map<string, Value>();
  private active = new Set<string>();

  /** Store a formula such as "=A1*2"; a syntax error leaves the sheet unchanged. */
  set(cell: string, content: string): void {
    const compiled = compile(content.replace(/^=/, ""));
    for (const ref of this.formulas.get(cell)?.refs ?? []) this.readers.get(ref)?.delete(cell);
    this.formulas.set(cell, compiled);
    for (const ref of compiled.refs) {
      this.readers.set(ref, (this.readers.get(ref) ?? new Set()).add(cell));
    }
    this.invalidate(cell, new Set());
  }

  get(cell: string): Value {
    if (this.memo.has(cell)) return this.memo.get(cell)!;
    if (this.active.has(cell)) return { error: `circular reference through ${cell}` };
    this.active.add(cell);
    const value = this.compute(cell);
    this.active.delete(cell);
    this.memo.set(cell, value);
    return value;
  }

  private compute(cell: string): Value {
    try {
      return this.formulas.get(cell)?.evaluate((ref) => this.need(ref)) ?? 0;
    } catch (error) {
      return { error: (error as FormulaError).message };
    }
  }

  private need(cell: string): number {
    const value = this.get(cell);
    if (typeof value === "number") return value;
    throw new FormulaError(value.error);
  }

  private invalidate(cell: string, seen: Set<string>): void {
    this.memo.delete(cell);
    for (const reader of this.readers.get(cell) ?? []) {
      if (!seen.has(reader)) this.invalidate(reader, seen.add(reader));
    }
  }
}

const sheet = new Sheet();
[4, 8, 6].forEach((n, i) => sheet.set(`A${i + 1}`, `=${n}`));
sheet.set("B1", "=SUM(A1:A3) / 2 - -1");
sheet.set("B2", "=B1 * (A1 + 1) - MAX(A1:A3) / 2");
assert.deepEqual([sheet.get("B1"), sheet.get("B2")], [10, 46]);
sheet.set("A1", "14");
assert.equal(sheet.get("B2"), 218);
sheet.set("A2", "=B2 + 1");
assert.deepEqual(sheet.get("B1"), { error: "circular reference through B1" });
sheet.set("A2", "=1 / Z9"); // Z9 is empty and counts as zero
assert.deepEqual(sheet.get("B2"), { error: "division by zero" });
assert.throws(() => sheet.set("C1", "=(1 + 2"), /\) expected at "end"/);
console.log("all sheet checks passed");
