// The window into a running server: keeps what the streams tell of one process, and draws it. What is told of several
// is in workers.js, a closer look in closer.js, and where it all comes from in source.js.
"use strict";

const $ = (id) => document.getElementById(id);
const PHASES = { read_request: "reading a request", read_body: "reading a body", dispatch: "in the handler",
  respond: "writing to a slow peer", finish: "finishing", handed_off: "handed off" };
const COUNTED = ["rejected", "refused", "throttled", "rate_limited", "failed", "gone", "timed_out", "cut"];
const world = { listeners: [], tasks: new Map(), connections: new Map(), hidden: 0, t: 0, at: 0 };
const firstSeen = new Map(); // of each deadline, how much time there was when it was first seen

const now = () => world.t + (performance.now() - world.at) / 1000;

function forget() {
  world.tasks.clear();
  world.connections.clear();
  firstSeen.clear();
  world.listeners = [];
  world.before = null;
  world.hidden = 0;
}

function take(name, told) {
  if (name === "all") forget();
  if (told.listeners) world.before = { t: world.t, listeners: world.listeners };
  world.t = told.t;
  world.at = performance.now();
  if (told.listeners) world.listeners = told.listeners;
  if (told.hidden !== undefined) world.hidden = told.hidden;
  for (const kind of ["tasks", "connections"]) {
    for (const row of told[kind] || []) world[kind].set(row.id, row);
    for (const id of told[kind + "_gone"] || []) {
      world[kind].delete(id);
      firstSeen.delete(id);
    }
  }
  draw();
}

// -- drawing: an element for each id, made once, moved where it belongs ------------------------------

function keyed(parent, wanted, make, fill) {
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const row of wanted) {
    let element = there.get(row.id);
    there.delete(row.id);
    if (!element) {
      element = make(row);
      element.dataset.key = row.id;
    }
    if (element !== at) parent.insertBefore(element, at);
    else at = at.nextElementSibling;
    fill(element, row);
  }
  for (const element of there.values()) element.remove();
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...inside);
  return element;
}

function button(className, pressed) {
  const element = make("button", className);
  element.type = "button";
  element.tabIndex = -1; // one of them is reached by Tab, the others from there by arrows
  element.addEventListener("click", pressed);
  return element;
}

function draw() {
  drawListeners();
  drawTree();
  drawConnections();
  for (const id of ["tree", "connections"]) reachable($(id));
  drawState();
  document.body.dataset.ready = "yes";
}

function numbers(list, items) {
  keyed(list, items, (item) => make("div", "", make("dt", "", item.label ?? item.id), make("dd")), (element, item) => {
    if (item.phase) element.dataset.phase = item.phase;
    put(element.lastChild, String(item.value));
  });
}

function phasesOf(listener) {
  return Object.entries(listener.phases).map(([name, value]) => {
    const phase = PHASES[name] ?? name.replaceAll("_", " ");
    return { id: name, label: phase, phase, value };
  });
}

const perSecond = (more, seconds) => (more < 10 * seconds ? (more / seconds).toFixed(1) : Math.round(more / seconds));

function drawListeners() {
  const rows = world.listeners.map((each) => ({ id: each.name, ...each }));
  const before = new Map((world.before?.listeners ?? []).map((each) => [each.name, each]));
  keyed($("listeners"), rows, () => make("article", "listener", make("h3"), make("dl", "numbers"), drainBar()), (box, row) => {
    box.dataset.status = row.status;
    put(box.querySelector("h3"), `${row.name}: ${row.status} on ${row.addresses.join(", ") || "streams"}`);
    const items = [
      { id: "connections", value: `${row.present} of ${row.max_connections}` },
      { id: "requests", value: row.requests },
    ];
    const more = before.has(row.name) ? row.requests - before.get(row.name).requests : 0;
    if (more > 0) items.push({ id: "a second", value: perSecond(more, world.t - world.before.t) });
    items.push(...phasesOf(row));
    for (const name of COUNTED) if (row[name]) items.push({ id: name, label: name.replace("_", " "), value: row[name] });
    numbers(box.querySelector("dl"), items);
    fillDrain(box, row, row.status === "draining");
  });
}

function drainBar() {
  const bar = make("div", "drain", make("span"), make("progress"));
  bar.lastChild.setAttribute("aria-label", "drain");
  bar.hidden = true;
  return bar;
}

function fillDrain(box, row, draining) {
  const bar = box.querySelector(".drain");
  bar.hidden = !draining;
  box.most = draining ? Math.max(box.most || 0, row.present) : row.present; // those who were there when it began
  if (!draining) return;
  const progress = bar.querySelector("progress");
  progress.max = box.most || 1;
  progress.value = (box.most || 1) - row.present;
  bar.dataset.present = row.present;
  bar.dataset.deadline = row.drain ?? "";
}

function drawTree() {
  const inside = new Map();
  for (const row of world.tasks.values()) {
    if (!inside.has(row.parent)) inside.set(row.parent, []);
    inside.get(row.parent).push(row);
  }
  const connections = [...world.connections.values()].sort((a, b) => a.since - b.since);
  const level = (list, parent) => keyed(list, inside.get(parent) || [], (row) => {
    const item = row.kind === "task"
      ? make("li", "task", button("", () => look(row.id)), " ", make("span", "where"), make("ul"))
      : make("li", "nursery", make("div", "dots"), make("span", "hint"), make("ul"));
    item.setAttribute("role", "treeitem");
    item.lastChild.setAttribute("role", "group");
    if (row.kind === "task") item.dataset.task = row.id;
    else {
      item.setAttribute("aria-label", "nursery");
      item.dataset.nursery = row.id;
    }
    return item;
  }, (item, row) => {
    if (row.kind === "task") {
      put(item.children[0], row.name);
      put(item.children[1], row.where);
    } else {
      const mine = row.listener ? connections.filter((each) => each.listener === row.listener) : [];
      drawDots(item.children[0], mine);
      put(item.children[1], row.connections > mine.length ? `and ${row.connections - mine.length} more` : "");
    }
    level(item.lastChild, row.id);
  });
  level($("tree"), "");
  put($("hidden"), world.hidden ? `and ${world.hidden} tasks more` : "");
}

function drawDots(box, connections) {
  keyed(box, connections, (each) => {
    const dot = button("", () => look(each.id));
    dot.setAttribute("role", "treeitem");
    dot.dataset.connection = each.id;
    return dot;
  }, (dot, each) => {
    dot.dataset.phase = each.phase;
    dot.dataset.deadline = each.deadline ?? "";
    dot.setAttribute("aria-label", `${each.peer}, ${each.phase}`);
    dot.title = `${each.peer}: ${each.phase} ${each.doing}`;
  });
}

function drawConnections() {
  const rows = [...world.connections.values()].sort((a, b) => (a.deadline ?? Infinity) - (b.deadline ?? Infinity));
  const present = world.listeners.reduce((sum, each) => sum + each.present, 0);
  put($("window"), present > rows.length ? `the ${rows.length} with the least time left, of ${present}` : `${present}`);
  keyed($("connections"), rows, (row) => make("tr", "", make("td", "", button("", () => look(row.id))), make("td", "phase"),
    make("td", "request"), make("td", "n"), make("td", "n"), make("td", "left", make("span"), make("i"))), (line, row) => {
    line.dataset.connection = row.id;
    line.dataset.phase = row.phase;
    line.dataset.deadline = row.deadline ?? "";
    put(line.cells[0].firstChild, row.peer);
    put(line.cells[1], row.phase);
    put(line.cells[2], row.doing);
    line.cells[2].title = row.doing;
    put(line.cells[4], String(row.requests));
    line.dataset.since = row.since;
    const seen = firstSeen.get(row.id);
    if (!seen || seen.deadline !== row.deadline)
      firstSeen.set(row.id, { deadline: row.deadline, span: row.deadline === null ? 0 : row.deadline - world.t });
  });
  tick();
}

// -- time: what shrinks by itself ----------------------------------------------------------------------

function tick() {
  const time = now();
  for (const line of $("connections").rows) {
    put(line.cells[3], `${Math.max(0, time - line.dataset.since).toFixed(0)} s`);
    const [words, bar] = line.cells[5].children;
    const deadline = line.dataset.deadline;
    const left = deadline === "" ? null : Math.max(0, deadline - time);
    put(words, left === null ? "" : `${left.toFixed(0)} s`);
    const span = (firstSeen.get(line.dataset.key) || {}).span;
    bar.style.setProperty("--part", left === null || !span ? "0" : `${Math.min(1, left / span) * 3}rem`);
  }
  for (const drain of document.querySelectorAll(".drain:not([hidden])")) {
    const { deadline, present } = drain.dataset;
    const at = drain.closest("#cards") ? together() : time;
    const left = deadline === "" ? "" : `, ${Math.max(0, deadline - at).toFixed(0)} s left`;
    put(drain.querySelector("span"), `${present} still here${left}`);
  }
}

// -- keys: a list of buttons is one stop, and arrows go from one to the next ---------------------------

function reachable(list) {
  if (!list.querySelector("button[tabindex='0']")) {
    const first = list.querySelector("button");
    if (first) first.tabIndex = 0;
  }
}

function byArrows(list) {
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
  list.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const all = [...list.querySelectorAll("button")];
    const at = all.indexOf(document.activeElement);
    if (!step || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, at + step))].focus();
  });
  list.addEventListener("focusin", (event) => {
    for (const each of list.querySelectorAll("button[tabindex='0']")) each.tabIndex = -1;
    event.target.tabIndex = 0;
  });
}
