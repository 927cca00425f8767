/*
 * Project planning with the critical-path method.
 *
 * Problem: tasks have durations and prerequisites. When can the project end at the earliest,
 * which tasks may slip without harm, and by how much? A forward pass in topological order
 * gives each task's earliest start; a backward pass gives its latest start. The difference
 * is the slack, and the tasks without slack form the critical path.
 *
 * Bad plans (unknown prerequisite, duplicate task, cycle) are returned as typed errors
 * that name the culprit, because planners fix plans by hand.
 */
import { strict as assert } from "node:assert";

interface Task {
  readonly id: string;
  readonly days: number;
  readonly after?: readonly string[];
}

interface Slot {
  readonly task: Task;
  readonly earliest: number;
  readonly latest: number;
  readonly slack: number;
}

type PlanError =
  | { kind: "duplicate"; id: string }
  | { kind: "unknown"; id: string; missing: string }
  | { kind: "cycle"; path: string[] };

type Plan =
  | { kind: "plan"; length: number; slots: Map<string, Slot>; critical: string[] }
  | PlanError;

/** Order tasks so that prerequisites come first, or return one cycle as a closed path. */
function topologicalOrder(tasks: Map<string, Task>): Task[] | { cycle: string[] } {
  const order: Task[] = [];
  const state = new Map<string, "open" | "done">();
  const trail: string[] = [];

  function visit(id: string): string[] | null {
    if (state.get(id) === "done") return null;
    if (state.get(id) === "open") return [...trail.slice(trail.indexOf(id)), id];
    state.set(id, "open");
    trail.push(id);
    const task = tasks.get(id)!;
    for (const before of task.after ?? []) {
      const cycle = visit(before);
      if (cycle !== null) return cycle;
    }
    trail.pop();
    state.set(id, "done");
    order.push(task);
    return null;
  }

  for (const id of tasks.keys()) {
    const cycle = visit(id);
    if (cycle !== null) return { cycle };
  }
  return order;
}

function makePlan(list: readonly Task[]): Plan {
  const tasks = new Map<string, Task>();
  for (const task of list) {
    if (tasks.has(task.id)) return { kind: "duplicate", id: task.id };
    tasks.set(task.id, task);
  }
  for (const task of list) {
    const missing = task.after?.find((id) => !tasks.has(id));
    if (missing !== undefined) return { kind: "unknown", id: task.id, missing };
  }
  const order = topologicalOrder(tasks);
  if (!Array.isArray(order)) return { kind: "cycle", path: order.cycle };

  const earliest = new Map<string, number>();
  let length = 0;
  for (const task of order) {
    const start = Math.max(0, ...(task.after ?? []).map(
      (id) => earliest.get(id)! + tasks.get(id)!.days));
    earliest.set(task.id, start);
    length = Math.max(length, start + task.days);
  }

  // A task must end before the latest start of every task that waits for it.
  const mustEnd = new Map<string, number>();
  const slots = new Map<string, Slot>();
  for (const task of [...order].reverse()) {
    const latest = (mustEnd.get(task.id) ?? length) - task.days;
    for (const id of task.after ?? []) {
      mustEnd.set(id, Math.min(mustEnd.get(id) ?? length, latest));
    }
    const start = earliest.get(task.id)!;
    slots.set(task.id, { task, earliest: start, latest, slack: latest - start });
  }
  const critical = order.filter((task) => slots.get(task.id)!.slack === 0).map((t) => t.id);
  return { kind: "plan", length, slots, critical };
}

/** Draw one line per task: "#" when planned, "." for days it may slip. */
function drawChart(plan: Extract<Plan, { kind: "plan" }>): string {
  const rows = [...plan.slots.values()].sort(
    (a, b) => a.earliest - b.earliest || a.task.id.localeCompare(b.task.id));
  const margin = Math.max(...rows.map((row) => row.task.id.length));
  return rows.map(({ task, earliest, slack }) =>
    `${task.id.padEnd(margin)} |${" ".repeat(earliest)}${"#".repeat(task.days)}` +
    ".".repeat(slack)).join("\n");
}

function main(): void {
  const house: Task[] = [
    { id: "roof", days: 4, after: ["walls"] },
    { id: "ground", days: 3 },
    { id: "walls", days: 6, after: ["ground"] },
    { id: "wiring", days: 2, after: ["walls"] },
    { id: "windows", days: 1, after: ["walls"] },
    { id: "garden", days: 5, after: ["ground"] },
    { id: "paint", days: 3, after: ["roof", "wiring", "windows"] },
  ];
  const plan = makePlan(house);
  assert.ok(plan.kind === "plan");
  console.log(drawChart(plan));
  assert.equal(plan.length, 16);
  assert.deepEqual(plan.critical, ["ground", "walls", "roof", "paint"]);
  assert.equal(plan.slots.get("wiring")?.slack, 2);
  assert.equal(plan.slots.get("garden")?.latest, 11);

  assert.deepEqual(makePlan([{ id: "a", days: 1, after: ["z"] }]),
    { kind: "unknown", id: "a", missing: "z" });
  const looped = makePlan([
    { id: "a", days: 1, after: ["b"] }, { id: "b", days: 1, after: ["c"] },
    { id: "c", days: 1, after: ["b"] },
  ]);
  assert.deepEqual(looped, { kind: "cycle", path: ["b", "c", "b"] });
}

main();
