// Where it comes from: the streams of the running server, or a recording, which is the same events, played.
"use strict";

let tape = null;
let source = null; // of the server itself, or of all its workers together
let inner = null; // of the worker that is chosen
let playing = 0;

function taken(name, told, worker) {
  if (tape) tape.push(JSON.stringify(worker === null ? { event: name, data: told } : { event: name, data: told, worker }));
  if (name.startsWith("workers")) takeWorkers(name, told);
  else {
    take(name, told);
    if (closer.id !== null && source) refresh();
  }
}

function drawState() {
  const draining = world.listeners.some((each) => each.status === "draining");
  const closed = world.listeners.length && world.listeners.every((each) => each.status === "closed");
  const doing = company.supervisor?.doing;
  const state = company.rows.size ? doing || "live" : closed ? "closed" : draining ? "draining" : "live";
  if (source ? source.readyState === EventSource.OPEN : closed) put($("state"), state === "stopping" ? "draining" : state);
}

function ended() {
  return company.rows.size ? company.supervisor.doing === "stopping"
    : world.listeners.length && world.listeners.every((each) => each.status !== "accepting");
}

function listen() {
  source = new EventSource("stream");
  for (const name of ["all", "change", "workers", "workers_change"])
    source.addEventListener(name, (event) => taken(name, JSON.parse(event.data), null));
  source.addEventListener("error", () => {
    const refused = source?.readyState === EventSource.CLOSED;
    put($("state"), refused ? "too many pages are open: close one, and reload" : ended() ? "closed" : "connecting");
    document.body.dataset.lost = "yes";
  });
  source.addEventListener("open", () => { delete document.body.dataset.lost; });
}

function listenTo(worker) {
  inner?.close();
  inner = new EventSource(`stream?worker=${worker}`);
  for (const name of ["all", "change"])
    inner.addEventListener(name, (event) => { if (company.chosen === worker) taken(name, JSON.parse(event.data), worker); });
}

function silence() {
  source?.close();
  inner?.close();
  source = inner = null;
}

$("record").addEventListener("click", () => {
  if (!tape) {
    tape = [];
    if (company.rows.size)
      tape.push(JSON.stringify({ event: "workers", data: { t: together(), supervisor: company.supervisor, workers: [...company.rows.values()] } }));
    const all = { t: now(), listeners: world.listeners, tasks: [...world.tasks.values()],
      connections: [...world.connections.values()], hidden: world.hidden };
    tape.push(JSON.stringify({ event: "all", data: all, worker: company.chosen ?? undefined }));
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

$("play").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  if (!file) return;
  const lines = (await file.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  silence();
  company.rows.clear();
  company.chosen = null;
  forget();
  drawWorkers();
  const mine = ++playing;
  const before = {}; // of each clock: a worker has one of its own
  for (const { event: name, data, worker } of lines) {
    const clock = name.startsWith("workers") ? "all" : worker ?? "";
    const pause = before[clock] === undefined ? 0 : (data.t - before[clock].t) * 1000 - (performance.now() - before[clock].at);
    if (pause > 0) await new Promise((done) => setTimeout(done, Math.min(2000, pause)));
    if (playing !== mine) return;
    before[clock] = { t: data.t, at: performance.now() };
    if (worker !== undefined && worker !== company.chosen) show(worker);
    taken(name, data, worker ?? null);
    put($("state"), "playing");
  }
  put($("state"), "played");
});

for (const id of ["tree", "connections", "cards"]) byArrows($(id));
setInterval(() => { if (!document.hidden && (world.listeners.length || company.rows.size)) tick(); }, 250);
listen();
