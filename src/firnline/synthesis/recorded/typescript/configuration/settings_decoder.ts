/*
 * Decode untrusted settings into typed values, with readable error paths.
 *
 * Problem: a settings file parsed from JSON has the static type "anything". Casting it to
 * an interface only silences the compiler. A decoder is a small function that checks a
 * value at run time AND tells the compiler its type; decoders for records and lists are
 * built from smaller ones, and the interface is derived from the decoder, so the two can
 * never disagree. All problems are collected, not only the first.
 */
import { strict as assert } from "node:assert";

type Problem = { path: string; message: string };
type Result<T> = { ok: true; value: T } | { ok: false; problems: Problem[] };
type Decoder<T> = (input: unknown, path: string) => Result<T>;

/** The TypeScript type that a decoder produces. */
type Decoded<D> = D extends Decoder<infer T> ? T : never;

const success = <T>(value: T): Result<T> => ({ ok: true, value });
const failure = (path: string, message: string): Result<never> =>
  ({ ok: false, problems: [{ path: path === "" ? "(root)" : path, message }] });

function describe(input: unknown): string {
  if (input === undefined) return "nothing";
  if (input === null) return "null";
  return Array.isArray(input) ? "a list" : `a ${typeof input}`;
}

const text: Decoder<string> = (input, path) =>
  typeof input === "string" ? success(input) : failure(path, `text wanted, got ${describe(input)}`);

const flag: Decoder<boolean> = (input, path) =>
  typeof input === "boolean" ? success(input) : failure(path, `true or false wanted`);

/** An integer within inclusive limits. */
function integer(low: number, high: number): Decoder<number> {
  return (input, path) => {
    if (typeof input !== "number" || !Number.isInteger(input)) {
      return failure(path, `integer wanted, got ${describe(input)}`);
    }
    return input >= low && input <= high
      ? success(input)
      : failure(path, `${input} is not within ${low}..${high}`);
  };
}

/** One of a fixed set of words; the result type is their union, not just string. */
function oneOf<const W extends readonly string[]>(words: W): Decoder<W[number]> {
  return (input, path) => {
    const found = words.find((word) => word === input);
    return found !== undefined
      ? success(found as W[number])
      : failure(path, `one of ${words.join(", ")} wanted`);
  };
}

/** Use a fallback when the value is absent; a present but wrong value is still an error. */
function withDefault<T>(decoder: Decoder<T>, fallback: T): Decoder<T> {
  return (input, path) => (input === undefined ? success(fallback) : decoder(input, path));
}

function list<T>(element: Decoder<T>): Decoder<T[]> {
  return (input, path) => {
    if (!Array.isArray(input)) return failure(path, `list wanted, got ${describe(input)}`);
    const results = input.map((item, index) => element(item, `${path}[${index}]`));
    const problems = results.flatMap((r) => (r.ok ? [] : r.problems));
    if (problems.length > 0) return { ok: false, problems };
    return success(results.flatMap((r) => (r.ok ? [r.value] : [])));
  };
}

/** A record with exactly the named fields; unknown fields are reported as misspellings. */
function record<S extends Record<string, Decoder<unknown>>>(
  shape: S,
): Decoder<{ [K in keyof S]: Decoded<S[K]> }> {
  return (input, path) => {
    if (typeof input !== "object" || input === null || Array.isArray(input)) {
      return failure(path, `record wanted, got ${describe(input)}`);
    }
    const source = input as Record<string, unknown>;
    const at = (key: string): string => (path === "" ? key : `${path}.${key}`);
    const problems: Problem[] = Object.keys(source)
      .filter((key) => !Object.hasOwn(shape, key))
      .map((key) => ({ path: at(key), message: "unknown setting" }));
    const value: Record<string, unknown> = {};
    for (const [key, decoder] of Object.entries(shape)) {
      const result = decoder(source[key], at(key));
      if (result.ok) value[key] = result.value;
      else problems.push(...result.problems);
    }
    if (problems.length > 0) return { ok: false, problems };
    return success(value as { [K in keyof S]: Decoded<S[K]> });
  };
}

const serverSettings = record({
  name: text,
  port: withDefault(integer(1, 65535), 8080),
  mode: oneOf(["development", "production"]),
  verbose: withDefault(flag, false),
  mirrors: list(record({ host: text, weight: integer(1, 100) })),
});
type ServerSettings = Decoded<typeof serverSettings>;

/** Total weight of all mirrors: compiles only because every field has a precise type. */
function totalWeight(settings: ServerSettings): number {
  return settings.mirrors.reduce((sum, mirror) => sum + mirror.weight, 0);
}

function main(): void {
  const good = serverSettings(JSON.parse(`{
    "name": "atlas", "mode": "production",
    "mirrors": [{"host": "north", "weight": 70}, {"host": "south", "weight": 30}]
  }`), "");
  assert.ok(good.ok);
  assert.equal(good.value.port, 8080);
  assert.equal(totalWeight(good.value), 100);

  const bad = serverSettings({
    name: 12, mode: "test", prot: 80, mirrors: [{ host: "north", weight: 0 }, "south"],
  }, "");
  assert.ok(!bad.ok);
  for (const { path, message } of bad.problems) console.log(`${path}: ${message}`);
  assert.deepEqual(bad.problems.map((p) => p.path),
    ["prot", "name", "mode", "mirrors[0].weight", "mirrors[1]"]);
}

main();
