'use strict';
/*
 * Nested state machines (statecharts) for devices with modes inside modes.
 *
 * Problem: a flat transition table for a washing machine must repeat "door opened -> paused"
 * in every running state. A statechart puts the running states inside one parent state and
 * writes the transition once, on the parent. An event is offered to the active leaf first
 * and then to each ancestor; the first state that handles it wins.
 *
 * A transition leaves states from the leaf up to the common ancestor of source and target,
 * then enters states down to the target and on through `initial` children. A composite with
 * `history: true` resumes the child that was active when it was last left.
 */
const assert = require('node:assert');

class Statechart {
  /** @param {object} definition root of the tree: { initial, states: { name: {...} } } */
  constructor(definition, context = {}) {
    this.nodes = new Map();
    this.context = context;
    this.remembered = new Map(); // composite path -> path of the child last active
    this.#index('', definition, null);
    this.#validate();
    this.leaf = null;
    this.#descend(this.nodes.get(''));
  }

  #index(path, definition, parent) {
    const node = { path, definition, parent, children: [] };
    this.nodes.set(path, node);
    for (const [name, child] of Object.entries(definition.states ?? {})) {
      const childPath = path === '' ? name : `${path}.${name}`;
      node.children.push(childPath);
      this.#index(childPath, child, node);
    }
  }

  /** Report wrong names when the chart is built instead of in the middle of a run. */
  #validate() {
    for (const { path, definition, children } of this.nodes.values()) {
      if (children.length > 0 && !(definition.initial in definition.states)) {
        throw new Error(`state "${path}" needs an initial child`);
      }
      for (const [event, rule] of Object.entries(definition.on ?? {})) {
        const target = rule.target ?? rule;
        if (!this.nodes.has(target)) {
          throw new Error(`"${path}" on ${event}: no state called "${target}"`);
        }
      }
    }
  }

  /** Ancestors of a node from the root down to the node itself. */
  #lineage(node) {
    return node === null ? [] : [...this.#lineage(node.parent), node];
  }

  #enter(node) {
    node.definition.entry?.(this.context);
  }

  #exit(node) {
    node.definition.exit?.(this.context);
    if (node.parent?.definition.history) this.remembered.set(node.parent.path, node.path);
  }

  /** From a node just entered, keep entering children until a leaf is reached. */
  #descend(node) {
    let current = node;
    while (current.children.length > 0) {
      const prefix = current.path === '' ? '' : `${current.path}.`;
      const next = this.remembered.get(current.path) ?? prefix + current.definition.initial;
      current = this.nodes.get(next);
      this.#enter(current);
    }
    this.leaf = current;
  }

  #transition(target) {
    const from = this.#lineage(this.leaf);
    const to = this.#lineage(target);
    let common = 0;
    while (from[common] === to[common] && common < to.length - 1) common += 1;
    for (const node of from.slice(common).reverse()) this.#exit(node);
    for (const node of to.slice(common)) this.#enter(node);
    this.#descend(target);
  }

  /** Offer an event; returns true when some active state handled it. */
  send(event, payload) {
    for (let node = this.leaf; node !== null; node = node.parent) {
      const rule = node.definition.on?.[event];
      if (rule === undefined) continue;
      if (rule.guard && !rule.guard(this.context, payload)) continue;
      rule.action?.(this.context, payload);
      this.#transition(this.nodes.get(rule.target ?? rule));
      return true;
    }
    return false;
  }
}

const WASHER = {
  initial: 'idle',
  states: {
    idle: { on: { START: { target: 'running', guard: (c, p) => p.load <= c.maxLoad } } },
    running: {
      initial: 'fill',
      history: true,
      entry: (c) => c.log.push('lock'),
      exit: (c) => c.log.push('unlock'),
      on: { DOOR: 'paused', FAULT: 'idle' },
      states: {
        fill: { on: { FULL: 'running.wash' } },
        wash: { on: { TIMER: 'running.spin' }, entry: (c) => c.log.push('drum on') },
        spin: { on: { TIMER: 'idle' } },
      },
    },
    paused: { on: { RESUME: 'running' } },
  },
};

function main() {
  const context = { maxLoad: 8, log: [] };
  const washer = new Statechart(WASHER, context);
  assert.strictEqual(washer.send('START', { load: 12 }), false, 'the guard refuses');
  for (const event of ['START', 'FULL', 'DOOR']) washer.send(event, { load: 5 });
  assert.strictEqual(washer.leaf.path, 'paused');
  washer.send('RESUME');
  assert.strictEqual(washer.leaf.path, 'running.wash', 'history resumes the inner state');
  assert.deepStrictEqual(context.log, ['lock', 'drum on', 'unlock', 'lock', 'drum on']);
  assert.strictEqual(washer.send('FULL'), false, 'events nobody handles change nothing');
  const broken = { initial: 'a', states: { a: { on: { GO: 'nowhere' } } } };
  assert.throws(() => new Statechart(broken), /no state called "nowhere"/);
  console.log(context.log.join(' > '), '| now in', washer.leaf.path);
}

main();
