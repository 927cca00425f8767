/*
 * Structural difference of two JSON documents as a list of reversible edits.
 *
 * Problem: a collaborative editor sends changes, not whole documents. Comparing two trees
 * yields "set" and "remove" operations addressed by path. Each operation keeps the old
 * value too, so a patch can (a) be undone and (b) detect that it is applied to a document
 * other than the one it was made for. Applying never mutates its input.
 *
 * Lists are compared by position; a longer or shorter tail becomes sets or removes.
 */
import { strict as assert } from "node:assert";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Path = ReadonlyArray<string | number>;

interface Edit {
  readonly path: Path;
  /** undefined: the place did not exist before (insert) or does not afterwards (remove). */
  readonly before?: Json;
  readonly after?: Json;
}

class PatchConflict extends Error {
  constructor(readonly path: Path, reason: string) {
    super(`/${path.join("/")}: ${reason}`);
  }
}

const isRecord = (value: Json | undefined): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Deep equality of JSON values; the order of record keys does not matter. */
function same(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => same(item, b[i]));
  }
  if (isRecord(a) && isRecord(b)) {
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length &&
      keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
  }
  return false;
}

/** Edits that turn `from` into `to`, found by walking both trees together. */
function* compare(from: Json, to: Json, path: Path = []): Generator<Edit> {
  if (isRecord(from) && isRecord(to)) {
    for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
      const before = Object.hasOwn(from, key) ? from[key] : undefined;
      const after = Object.hasOwn(to, key) ? to[key] : undefined;
      if (before !== undefined && after !== undefined) {
        yield* compare(before, after, [...path, key]);
      } else {
        yield { path: [...path, key], before, after };
      }
    }
  } else if (Array.isArray(from) && Array.isArray(to)) {
    const common = Math.min(from.length, to.length);
    for (let i = 0; i < common; i += 1) yield* compare(from[i], to[i], [...path, i]);
    for (let i = from.length - 1; i >= common; i -= 1) {
      yield { path: [...path, i], before: from[i] };
    }
    for (let i = common; i < to.length; i += 1) yield { path: [...path, i], after: to[i] };
  } else if (!same(from, to)) {
    yield { path, before: from, after: to };
  }
}

/** Copy the nodes along one path and change the last step; all else is shared. */
function applyEdit(node: Json | undefined, edit: Edit, depth = 0): Json | undefined {
  if (depth === edit.path.length) {
    if (!same(node, edit.before)) throw new PatchConflict(edit.path, "unexpected old value");
    return edit.after;
  }
  const step = edit.path[depth];
  if (Array.isArray(node) && typeof step === "number") {
    const copy = node.slice();
    const child = applyEdit(copy[step], edit, depth + 1);
    if (child !== undefined && step <= copy.length) copy[step] = child;
    else if (child === undefined && step === copy.length - 1) copy.pop();
    else throw new PatchConflict(edit.path, "not at the end of the list");
    return copy;
  }
  if (isRecord(node) && typeof step === "string") {
    const old = Object.hasOwn(node, step) ? node[step] : undefined;
    const child = applyEdit(old, edit, depth + 1);
    const { [step]: _dropped, ...rest } = node;
    return child === undefined ? rest : { ...node, [step]: child };
  }
  throw new PatchConflict(edit.path, `no container at step ${depth}`);
}

function applyPatch(document: Json, edits: Iterable<Edit>): Json {
  let current: Json | undefined = document;
  for (const edit of edits) current = applyEdit(current, edit);
  if (current === undefined) throw new PatchConflict([], "the document was removed");
  return current;
}

/** The patch that undoes another: opposite edits in opposite order. */
function invert(edits: readonly Edit[]): Edit[] {
  return edits.map(({ path, before, after }) => ({ path, before: after, after: before })).reverse();
}

function main(): void {
  const first: Json = {
    title: "Trip", days: [{ city: "Lyon", km: 0 }, { city: "Turin", km: 310 }, { city: "Rome" }],
    tags: ["car"], draft: true,
  };
  const second: Json = {
    title: "Trip", days: [{ city: "Lyon", km: 5 }, { city: "Turin", km: 310, nights: 2 }],
    tags: ["car", "family", "summer"],
  };
  const patch = [...compare(first, second)];
  for (const edit of patch) {
    console.log(`/${edit.path.join("/")}`, edit.before ?? "-", "->", edit.after ?? "-");
  }
  assert.deepEqual(applyPatch(first, patch), second);
  assert.deepEqual(applyPatch(second, invert(patch)), first);
  assert.equal(patch.length, 6);

  const moved = applyPatch(first, [{ path: ["days", 0, "km"], before: 0, after: 99 }]);
  assert.throws(() => applyPatch(moved, patch), /\/days\/0\/km: unexpected old value/);
  assert.throws(() => applyPatch(first, [{ path: ["tags", 3], after: "x" }]), PatchConflict);
}

main();
