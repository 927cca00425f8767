/*
 * A typed event hub with priorities, one-shot listeners and groups of subscriptions.
 *
 * Problem: parts of a program should react to what happens in others without knowing them.
 * The usual string-keyed emitter has three defects that this hub repairs:
 *   - payload types are unchecked          -> an event map ties each name to its payload
 *   - forgotten listeners leak             -> a Scope releases all its subscriptions at once
 *   - one throwing listener stops the rest -> errors are gathered and reported together
 *
 * Listeners added or removed DURING an emit do not affect that emit, except that a removed
 * listener which has not run yet is skipped.
 */
import { strict as assert } from "node:assert";

type Listener<P> = (payload: P) => void;

interface Entry<P> {
  readonly listener: Listener<P>;
  readonly priority: number;
  readonly once: boolean;
  active: boolean;
}

interface Subscription { release(): void }

class EmitError extends Error {
  constructor(readonly event: string, readonly causes: readonly unknown[]) {
    super(`${causes.length} listener(s) of "${event}" failed`);
  }
}

class EventHub<Events extends object> {
  private readonly entries: { [K in keyof Events]?: Entry<Events[K]>[] } = {};

  /** Higher priorities run first; equal priorities run in the order of subscription. */
  on<K extends keyof Events>(
    event: K,
    listener: Listener<Events[K]>,
    { priority = 0, once = false }: { priority?: number; once?: boolean } = {},
  ): Subscription {
    const entry: Entry<Events[K]> = { listener, priority, once, active: true };
    const list = this.entries[event] ?? [];
    const position = list.findIndex((other) => other.priority < priority);
    const cut = position < 0 ? list.length : position;
    // A new array instead of splice: an emit in progress keeps iterating the old one.
    this.entries[event] = [...list.slice(0, cut), entry, ...list.slice(cut)];
    return { release: () => this.remove(event, entry) };
  }

  /** Call every listener; throws one EmitError at the end if any of them threw. */
  emit<K extends keyof Events>(event: K, payload: Events[K]): number {
    const causes: unknown[] = [];
    let called = 0;
    for (const entry of this.entries[event] ?? []) {
      if (!entry.active) continue;
      if (entry.once) this.remove(event, entry);
      called += 1;
      try {
        entry.listener(payload);
      } catch (error) {
        causes.push(error);
      }
    }
    if (causes.length > 0) throw new EmitError(String(event), causes);
    return called;
  }

  /** A promise for the next occurrence that satisfies the condition. */
  next<K extends keyof Events>(
    event: K,
    condition: (payload: Events[K]) => boolean = () => true,
  ): Promise<Events[K]> {
    return new Promise((resolve) => {
      const subscription = this.on(event, (payload) => {
        if (!condition(payload)) return;
        subscription.release();
        resolve(payload);
      });
    });
  }

  listenerCount(event: keyof Events): number {
    return this.entries[event]?.length ?? 0;
  }

  private remove<K extends keyof Events>(event: K, entry: Entry<Events[K]>): void {
    entry.active = false;
    this.entries[event] = this.entries[event]?.filter((other) => other !== entry);
  }
}

/** Owns subscriptions and releases them in reverse order, e.g. when a view closes. */
class Scope implements Subscription {
  private readonly owned: Subscription[] = [];

  own(...subscriptions: Subscription[]): this {
    this.owned.push(...subscriptions);
    return this;
  }

  release(): void {
    for (const subscription of this.owned.splice(0).reverse()) subscription.release();
  }
}

interface ShopEvents {
  order: { id: number; total: number };
  stock: { item: string; left: number };
}

async function main(): Promise<void> {
  const hub = new EventHub<ShopEvents>();
  const log: string[] = [];
  const view = new Scope().own(
    hub.on("order", ({ id }) => log.push(`mail ${id}`)),
    hub.on("order", ({ id, total }) => log.push(`book ${id}: ${total}`), { priority: 10 }),
    hub.on("stock", ({ item, left }) => { if (left < 5) log.push(`reorder ${item}`); }),
  );
  hub.on("order", () => log.push("first customer!"), { once: true, priority: 5 });
  const scarce = hub.next("stock", ({ left }) => left === 0);

  assert.equal(hub.emit("order", { id: 1, total: 40 }), 3);
  assert.equal(hub.emit("order", { id: 2, total: 15 }), 2);
  for (const left of [9, 4, 0]) hub.emit("stock", { item: "rope", left });
  assert.deepEqual(await scarce, { item: "rope", left: 0 });
  assert.deepEqual(log, ["book 1: 40", "first customer!", "mail 1", "book 2: 15", "mail 2",
    "reorder rope", "reorder rope"]);

  view.release();
  assert.equal(hub.listenerCount("order") + hub.listenerCount("stock"), 0);
  hub.on("order", () => { throw new Error("printer is out of paper"); });
  hub.on("order", ({ id }) => log.push(`still runs ${id}`));
  assert.throws(() => hub.emit("order", { id: 3, total: 1 }), /1 listener\(s\) of "order"/);
  assert.equal(log.at(-1), "still runs 3");
  // @ts-expect-error a payload of the wrong shape does not compile
  if (log.length === 0) hub.emit("stock", { item: "rope" });
  console.log(log.join("\n"));
}

void main();
