'use strict';
/*
 * A "serve stale, refresh behind" cache for slow asynchronous lookups.
 *
 * Problem: price quotes come from a slow service. Callers would rather see a slightly old
 * quote at once than wait, but never one that is far out of date. Two ages describe this:
 *
 *   age <= fresh          return the stored value
 *   fresh < age <= stale  return the stored value and start ONE refresh in the background
 *   age > stale           wait for a new value
 *
 * Simultaneous requests for one key share a single load, and a failed background refresh
 * never destroys a value that is still usable.
 */
const assert = require('node:assert');

class StaleCache {
  #entries = new Map(); // key -> { value, storedAt }, in least-recently-used order
  #pending = new Map(); // key -> Promise of the load in progress

  /**
   * @param {(key: string) => Promise<any>} load   fetches a missing value
   * @param {{fresh: number, stale: number, capacity?: number, now?: () => number}} options
   */
  constructor(load, { fresh, stale, capacity = 100, now = Date.now }) {
    if (!(fresh >= 0 && stale >= fresh)) throw new RangeError('need 0 <= fresh <= stale');
    if (capacity < 1) throw new RangeError('capacity must be positive');
    this.load = load;
    this.fresh = fresh;
    this.stale = stale;
    this.capacity = capacity;
    this.now = now;
    this.stats = { hits: 0, staleHits: 0, misses: 0, failedRefreshes: 0 };
  }

  async get(key) {
    const entry = this.#entries.get(key);
    const age = entry ? this.now() - entry.storedAt : Infinity;
    if (age <= this.stale) {
      this.#touch(key, entry);
      if (age <= this.fresh) {
        this.stats.hits += 1;
      } else {
        this.stats.staleHits += 1;
        this.#refresh(key).catch(() => { this.stats.failedRefreshes += 1; });
      }
      return entry.value;
    }
    this.stats.misses += 1;
    return this.#refresh(key);
  }

  /** Forget a key; a load already under way for it will not be stored. */
  invalidate(key) {
    this.#entries.delete(key);
    this.#pending.delete(key);
  }

  get size() { return this.#entries.size; }

  /** Start a load, or join the one that is running for this key. */
  #refresh(key) {
    const running = this.#pending.get(key);
    if (running) return running;
    const promise = Promise.resolve().then(() => this.load(key)).then((value) => {
      if (this.#pending.get(key) === promise) {
        this.#touch(key, { value, storedAt: this.now() });
        this.#evict();
      }
      return value;
    }).finally(() => {
      if (this.#pending.get(key) === promise) this.#pending.delete(key);
    });
    this.#pending.set(key, promise);
    return promise;
  }

  /** A Map iterates in insertion order, so re-inserting moves a key to the young end. */
  #touch(key, entry) {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
  }

  #evict() {
    while (this.#entries.size > this.capacity) {
      const [oldest] = this.#entries.keys();
      this.#entries.delete(oldest);
    }
  }
}

/** Let every promise callback that is already due run. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

async function main() {
  let clock = 0;
  let calls = 0;
  let broken = false;
  const quote = async (symbol) => {
    calls += 1;
    const serial = calls;
    await settle();
    if (broken) throw new Error('quote service is down');
    return `${symbol}#${serial}`;
  };
  const cache = new StaleCache(quote, { fresh: 10, stale: 60, capacity: 2, now: () => clock });

  const both = await Promise.all([cache.get('OAK'), cache.get('OAK')]);
  assert.deepStrictEqual(both, ['OAK#1', 'OAK#1'], 'two requests share one load');

  clock = 30; // stale: the old value now, a newer one next time
  assert.strictEqual(await cache.get('OAK'), 'OAK#1');
  await settle();
  await settle();
  assert.strictEqual(await cache.get('OAK'), 'OAK#2');

  clock = 70; // stale again, but the service fails: keep serving the old value
  broken = true;
  assert.strictEqual(await cache.get('OAK'), 'OAK#2');
  await settle();
  await settle();
  assert.strictEqual(cache.stats.failedRefreshes, 1);

  clock = 200; // too old: now the failure must be visible
  await assert.rejects(cache.get('OAK'), /service is down/);

  broken = false;
  for (const symbol of ['ELM', 'ASH', 'FIR']) await cache.get(symbol);
  assert.strictEqual(cache.size, 2, 'the capacity holds');
  console.log('calls:', calls, 'stats:', cache.stats);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
