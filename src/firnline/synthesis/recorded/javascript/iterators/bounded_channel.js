'use strict';
/*
 * A bounded channel: back-pressure between asynchronous producers and consumers.
 *
 * Problem: a reader that is faster than the writer behind it fills the memory. With a
 * bounded channel, `send` waits while the buffer is full, so the whole pipeline runs at
 * the speed of its slowest stage. Consumers read with `for await`, may stop early, and see
 * an error that the producer hands to `fail`.
 */
const assert = require('node:assert');

class ClosedChannelError extends Error {}

class Channel {
  #buffer = [];
  #senders = [];   // { value, resolve, reject } waiting for room
  #receivers = []; // { resolve, reject } waiting for a value
  #closed = false;
  #error = null;

  constructor(capacity) {
    if (!(capacity >= 0)) throw new RangeError('the capacity must not be negative');
    this.capacity = capacity;
  }

  /** Resolves once the value is in the buffer or in a receiver's hands. */
  send(value) {
    if (this.#closed) return Promise.reject(new ClosedChannelError('send after close'));
    const receiver = this.#receivers.shift();
    if (receiver) {
      receiver.resolve({ value, done: false });
      return Promise.resolve();
    }
    if (this.#buffer.length < this.capacity) {
      this.#buffer.push(value);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => this.#senders.push({ value, resolve, reject }));
  }

  /** Resolves to an iterator result; `done` is true after close and an empty buffer. */
  receive() {
    if (this.#buffer.length > 0) {
      const value = this.#buffer.shift();
      const sender = this.#senders.shift();
      if (sender) {
        this.#buffer.push(sender.value);
        sender.resolve();
      }
      return Promise.resolve({ value, done: false });
    }
    const sender = this.#senders.shift();
    if (sender) { // capacity 0: direct hand-over
      sender.resolve();
      return Promise.resolve({ value: sender.value, done: false });
    }
    if (this.#error) return Promise.reject(this.#error);
    if (this.#closed) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#receivers.push({ resolve, reject }));
  }

  close() {
    this.#closed = true;
    for (const { resolve } of this.#receivers.splice(0)) resolve({ value: undefined, done: true });
  }

  /** Close with an error, which consumers see after the values already accepted. */
  fail(error) {
    this.#error = error;
    this.#closed = true;
    for (const { reject } of this.#receivers.splice(0)) reject(error);
  }

  [Symbol.asyncIterator]() {
    return {
      next: () => this.receive(),
      return: () => { // the consumer left its loop: wake the blocked producers
        this.close();
        this.#buffer.length = 0;
        for (const { reject } of this.#senders.splice(0)) {
          reject(new ClosedChannelError('the consumer stopped'));
        }
        return Promise.resolve({ value: undefined, done: true });
      },
    };
  }
}

/** Apply an async function with `workers` copies running; results come unordered. */
function mapConcurrent(source, workers, fn, capacity = 1) {
  const output = new Channel(capacity);
  const work = async () => {
    for (let item = await source.receive(); !item.done; item = await source.receive()) {
      await output.send(await fn(item.value));
    }
  };
  Promise.all(Array.from({ length: workers }, work))
    .then(() => output.close(), (error) => output.fail(error));
  return output;
}

/** Feed an iterable into a new channel, swallowing only the consumer's early exit. */
function feed(items, capacity) {
  const channel = new Channel(capacity);
  channel.sent = 0;
  channel.feeding = (async () => {
    for (const item of items) {
      await channel.send(item);
      channel.sent += 1;
    }
    channel.close();
  })().catch((error) => {
    if (!(error instanceof ClosedChannelError)) channel.fail(error);
  });
  return channel;
}

async function main() {
  const squares = [];
  for await (const n of mapConcurrent(feed([1, 2, 3, 4, 5], 2), 3, async (n) => n * n)) {
    squares.push(n);
  }
  assert.deepStrictEqual(squares.sort((a, b) => a - b), [1, 4, 9, 16, 25]);

  const endless = feed((function* count() { for (let i = 0; ; i += 1) yield i; })(), 4);
  for await (const n of endless) if (n === 10) break;
  await endless.feeding;
  assert.ok(endless.sent <= 10 + 4 + 2, 'the producer never ran far ahead');

  const failing = mapConcurrent(feed(['8', 'x'], 1), 1, async (text) => {
    if (!/^\d+$/.test(text)) throw new SyntaxError(`not a number: ${text}`);
    return Number(text);
  });
  assert.deepStrictEqual(await failing.receive(), { value: 8, done: false });
  await assert.rejects(failing.receive(), /not a number: x/);
  await assert.rejects(endless.send(1), ClosedChannelError);
  console.log('squares', squares, 'sent before stop', endless.sent);
}

main();
