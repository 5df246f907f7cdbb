// Several processes, side by side: a card for each, and the one that is chosen is drawn below.
"use strict";

const LINGER = 8000; // milliseconds for which one that has ended is still shown
const company = { rows: new Map(), before: new Map(), supervisor: null, t: 0, at: 0, chosen: null };

const together = () => company.t + (performance.now() - company.at) / 1000;

function takeWorkers(name, told) {
  if (name === "workers") company.rows.clear();
  const gone = told.workers_gone || [];
  company.before = new Map([...company.rows].map(([id, row]) => [id, { ...row, t: company.t }]));
  company.t = told.t;
  company.at = performance.now();
  company.supervisor = told.supervisor;
  for (const row of told.workers) company.rows.set(row.id, row);
  for (const id of gone) {
    const row = company.rows.get(id);
    if (row) company.rows.set(id, { ...row, state: "ended", ended: company.at, listeners: [], connections: 0 });
  }
  for (const row of [...company.rows.values()])
    if (row.ended !== undefined && company.at - row.ended > LINGER) company.rows.delete(row.id);
  drawWorkers();
  choose();
  drawState();
}

const bySlot = (a, b) => a.slot - b.slot || a.id - b.id;

/** Somebody is shown as long as anybody serves: when the one that was has ended, the one that has its place. */
function choose() {
  const there = [...company.rows.values()].filter((row) => row.served && row.state !== "ended").sort(bySlot);
  if (there.some((row) => row.id === company.chosen)) return;
  const last = company.rows.get(company.chosen);
  const successor = there.filter((row) => last && row.slot === last.slot).pop();
  const next = successor ?? there[0];
  if (next) show(next.id);
}

function show(id) {
  if (company.chosen === id) return;
  company.chosen = id;
  closeDetail();
  forget();
  draw();
  drawWorkers();
  if (source) listenTo(id);
}

function drawWorkers() {
  $("workers").hidden = !company.rows.size;
  if (!company.rows.size) return;
  const { pid, slots, generation, doing } = company.supervisor;
  const words = `supervisor ${pid}, ${slots} worker${slots === 1 ? "" : "s"}, generation ${generation}`;
  put($("supervisor"), doing ? `${words}: ${doing}` : words);
  const rows = [...company.rows.values()].sort(bySlot);
  keyed($("cards"), rows, (row) => {
    const card = button("card", () => show(row.id));
    card.setAttribute("role", "tab");
    card.append(make("span", "title"), make("span", "chip"), make("span", "hint"), make("dl", "numbers"), drainBar());
    return card;
  }, fillCard);
  reachable($("cards"));
  tick();
}

function fillCard(card, row) {
  card.dataset.state = row.state;
  card.dataset.worker = row.id;
  card.setAttribute("aria-selected", String(row.id === company.chosen));
  card.disabled = !row.served || row.state === "ended";
  put(card.querySelector(".title"), `worker ${row.id}`);
  put(card.querySelector(".chip"), row.state === "silent" ? `silent for ${row.silent} s` : row.state);
  put(card.querySelector(".hint"), `slot ${row.slot}, generation ${row.generation}, process ${row.pid}`);
  const items = [{ id: "connections", value: row.listeners.length ? row.listeners.reduce((sum, each) => sum + each.present, 0)
    : row.connections }, { id: "requests", value: row.requests }];
  const before = company.before.get(row.id);
  if (before && row.requests > before.requests && company.t > before.t)
    items.push({ id: "a second", value: perSecond(row.requests - before.requests, company.t - before.t) });
  if (row.resident) items.push({ id: "memory", value: `${Math.round(row.resident / 1e6)} MB` });
  for (const name of COUNTED) {
    const value = row.listeners.reduce((sum, each) => sum + (each[name] || 0), 0);
    if (value) items.push({ id: name, label: name.replace("_", " "), value });
  }
  const phases = new Map();
  for (const each of row.listeners)
    for (const item of phasesOf(each)) phases.set(item.id, { ...item, value: item.value + (phases.get(item.id)?.value ?? 0) });
  numbers(card.querySelector("dl"), [...items, ...phases.values()]);
  const drains = row.listeners.filter((each) => each.status === "draining");
  const present = (drains.length ? drains : row.listeners).reduce((sum, each) => sum + each.present, 0);
  fillDrain(card, { present, drain: drains.length ? Math.max(...drains.map((each) => each.drain)) : null }, drains.length > 0);
}
