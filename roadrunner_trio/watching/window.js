// The window into a running server: keeps what the stream tells, and draws it. A recording is the same events, played.
"use strict";

const $ = (id) => document.getElementById(id);
const world = { listeners: [], tasks: new Map(), connections: new Map(), hidden: 0, t: 0, at: 0 };
const firstSeen = new Map(); // of each deadline, how much time there was when it was first seen
let tape = null;
let source = null;

const now = () => world.t + (performance.now() - world.at) / 1000;

function take(name, told) {
  if (name === "all") {
    world.tasks.clear();
    world.connections.clear();
  }
  world.t = told.t;
  world.at = performance.now();
  world.before = world.listeners;
  if (told.listeners) world.listeners = told.listeners;
  if (told.hidden !== undefined) world.hidden = told.hidden;
  for (const kind of ["tasks", "connections"]) {
    for (const row of told[kind] || []) world[kind].set(row.id, row);
    for (const id of told[kind + "_gone"] || []) {
      world[kind].delete(id);
      firstSeen.delete(id);
    }
  }
  if (tape) tape.push(JSON.stringify({ event: name, data: told }));
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

function draw() {
  drawListeners();
  drawTree();
  drawConnections();
  const draining = world.listeners.some((each) => each.status === "draining");
  const closed = world.listeners.length && world.listeners.every((each) => each.status === "closed");
  if (source || closed) put($("state"), closed ? "closed" : draining ? "draining" : "live");
  document.body.dataset.ready = "yes";
}

function drawListeners() {
  const rows = world.listeners.map((each) => ({ id: each.name, ...each }));
  keyed($("listeners"), rows, () => {
    const box = make("article", "listener", make("h3"), make("dl", "numbers"), make("div", "drain"));
    box.lastChild.append(make("span"), make("progress"));
    return box;
  }, (box, row) => {
    box.dataset.status = row.status;
    put(box.querySelector("h3"), `${row.name}: ${row.status} on ${row.addresses.join(", ") || "streams"}`);
    const before = (world.before || []).find((each) => each.name === row.name);
    const numbers = { connections: `${row.present} of ${row.max_connections}`, requests: row.requests };
    if (before && row.requests > before.requests) numbers["just now"] = row.requests - before.requests;
    for (const [phase, count] of Object.entries(row.phases)) numbers[phase] = count;
    for (const name of ["rejected", "refused", "throttled", "rate_limited", "failed", "gone", "timed_out", "cut"])
      if (row[name]) numbers[name.replace("_", " ")] = row[name];
    const items = Object.entries(numbers).map(([id, value]) => ({ id, value }));
    keyed(box.querySelector("dl"), items, (item) => make("div", "", make("dt", "", item.id), make("dd")),
      (item, { value }) => put(item.lastChild, String(value)));
    const drain = box.querySelector(".drain");
    drain.hidden = row.status !== "draining";
    if (!drain.hidden) {
      row.most = box.most = Math.max(box.most || 0, row.present);
      const progress = drain.querySelector("progress");
      progress.max = row.most || 1;
      progress.value = row.most - row.present;
      drain.dataset.deadline = row.drain === null ? "" : row.drain;
    }
  });
}

function drawTree() {
  const inside = new Map();
  for (const row of world.tasks.values()) {
    if (!inside.has(row.parent)) inside.set(row.parent, []);
    inside.get(row.parent).push(row);
  }
  const connections = [...world.connections.values()].sort((a, b) => a.since - b.since);
  const level = (list, parent) => keyed(list, inside.get(parent) || [], (row) => {
    if (row.kind === "task") {
      const button = make("button");
      button.type = "button";
      button.addEventListener("click", () => look(row.id));
      const item = make("li", "task", button, " ", make("span", "where"), make("ul"));
      item.setAttribute("role", "treeitem");
      item.dataset.task = row.id;
      item.lastChild.setAttribute("role", "group");
      return item;
    }
    const item = make("li", "nursery", make("div", "dots"), make("span", "hint"), make("ul"));
    item.setAttribute("role", "treeitem");
    item.setAttribute("aria-label", "nursery");
    item.lastChild.setAttribute("role", "group");
    item.dataset.nursery = row.id;
    return item;
  }, (item, row) => {
    if (row.kind === "task") {
      put(item.children[0], row.name);
      put(item.children[1], row.where);
    } else {
      const mine = row.listener ? connections.filter((each) => each.listener === row.listener) : [];
      keyed(item.children[0], mine, (each) => {
        const dot = make("button");
        dot.type = "button";
        dot.setAttribute("role", "treeitem");
        dot.dataset.connection = each.id;
        dot.addEventListener("click", () => look(each.id));
        return dot;
      }, (dot, each) => {
        dot.dataset.phase = each.phase;
        dot.dataset.deadline = each.deadline === null ? "" : each.deadline;
        dot.setAttribute("aria-label", `${each.peer}, ${each.phase}`);
        dot.title = `${each.peer}: ${each.phase} ${each.doing}`;
      });
      put(item.children[1], row.connections > mine.length ? `and ${row.connections - mine.length} more` : "");
    }
    level(item.lastChild, row.id);
  });
  level($("tree"), "");
  put($("hidden"), world.hidden ? `and ${world.hidden} tasks more` : "");
}

function drawConnections() {
  const rows = [...world.connections.values()].sort((a, b) => (a.deadline ?? Infinity) - (b.deadline ?? Infinity));
  const present = world.listeners.reduce((sum, each) => sum + each.present, 0);
  put($("window"), present > rows.length ? `the ${rows.length} with the least time left, of ${present}` : `${present}`);
  keyed($("connections"), rows, (row) => {
    const button = make("button");
    button.type = "button";
    button.addEventListener("click", () => look(row.id));
    return make("tr", "", make("td", "", button), make("td", "phase"), make("td"), make("td", "n"), make("td", "n"),
      make("td", "left", make("span"), make("i")));
  }, (line, row) => {
    line.dataset.connection = row.id;
    line.dataset.phase = row.phase;
    line.dataset.deadline = row.deadline === null ? "" : row.deadline;
    put(line.cells[0].firstChild, row.peer);
    put(line.cells[1], row.phase);
    put(line.cells[2], row.doing);
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
    bar.style.setProperty("--part", left === null || !span ? "0" : `${Math.min(1, left / span) * 5}rem`);
  }
  for (const drain of document.querySelectorAll(".drain:not([hidden])")) {
    const box = drain.closest(".listener");
    const listener = world.listeners.find((each) => each.name === box.dataset.key);
    const left = drain.dataset.deadline === "" ? "" : `, ${Math.max(0, drain.dataset.deadline - time).toFixed(0)} s left`;
    put(drain.querySelector("span"), `${listener.present} still here${left}`);
  }
}

setInterval(() => { if (!document.hidden && world.listeners.length) tick(); }, 250);

// -- looking closer ------------------------------------------------------------------------------------

async function look(id) {
  const row = world.connections.get(id) || world.tasks.get(id) || {};
  const lines = { name: row.peer || row.name || "", stack: [], below: [] };
  if (source) {
    const answer = await fetch(`task?id=${encodeURIComponent(id)}`);
    Object.assign(lines, answer.ok ? await answer.json() : { stack: ["it has ended"] });
  } else {
    lines.stack = [row.where || `${row.phase} ${row.doing}`];
  }
  put($("detail-name"), lines.name);
  $("detail-stack").replaceChildren(...lines.stack.map((line) => make("li", "", line)));
  $("detail-below").replaceChildren(...lines.below.map((line) => make("li", "", line)));
  $("detail").hidden = false;
}

$("close").addEventListener("click", () => { $("detail").hidden = true; });

// -- where it comes from -------------------------------------------------------------------------------

function listen() {
  source = new EventSource("stream");
  for (const name of ["all", "change"])
    source.addEventListener(name, (event) => take(name, JSON.parse(event.data)));
  source.addEventListener("error", () => {
    const ended = world.listeners.length && world.listeners.every((each) => each.status !== "accepting");
    put($("state"), ended ? "closed" : "connecting");
    document.body.dataset.lost = "yes";
  });
  source.addEventListener("open", () => { delete document.body.dataset.lost; });
}

$("record").addEventListener("click", () => {
  if (!tape) {
    const all = { t: now(), listeners: world.listeners, tasks: [...world.tasks.values()],
      connections: [...world.connections.values()], hidden: world.hidden };
    tape = [JSON.stringify({ event: "all", data: all })];
    put($("record"), "Save the recording");
    return;
  }
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([tape.join("\n") + "\n"], { type: "application/jsonl" }));
  link.download = "recording.jsonl";
  link.click();
  tape = null;
  put($("record"), "Record");
});

let playing = 0;

$("play").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  if (!file) return;
  const lines = (await file.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  if (source) source.close();
  source = null;
  const mine = ++playing;
  let before = null;
  for (const { event: name, data } of lines) {
    if (before !== null) await new Promise((done) => setTimeout(done, Math.min(2000, (data.t - before) * 1000)));
    if (playing !== mine) return;
    before = data.t;
    take(name, data);
    put($("state"), "playing");
  }
  put($("state"), "played");
});

listen();
