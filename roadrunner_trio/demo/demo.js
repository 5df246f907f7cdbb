// The demo's page: asks, and shows what came back and when. No library, nothing loaded from elsewhere.

const $ = (id) => document.getElementById(id);
const wireOf = (id) => document.querySelector(`#${id} .wire`);
const ms = (from) => `${(performance.now() - from).toFixed(performance.now() - from < 100 ? 1 : 0)} ms`;
const octets = (n) => (n < 10_000 ? `${n} B` : n < 1e6 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1024 / 1024).toFixed(2)} MiB`);

// -- lines on the wire -------------------------------------------------------------------------

function line(wire, kind, text, when = "") {
  const row = document.createElement("p");
  const words = document.createElement("span");
  const time = document.createElement("time");
  row.className = kind;
  words.textContent = text;
  time.textContent = when;
  row.append(words, time);
  wire.append(row);
  wire.scrollTop = wire.scrollHeight;
}

function head(wire, response, when) {
  if (response.redirected) line(wire, "in", "303 See Other, followed to " + new URL(response.url).pathname);
  line(wire, response.ok ? "in status" : "in status bad", `${response.status} ${response.statusText}`, when);
  for (const [name, value] of response.headers) line(wire, "field", `${name}: ${value}`);
}

const lost = (wire) => line(wire, "in status bad", "No answer: is the server still there?");

async function get(wire, path) {
  wire.replaceChildren();
  line(wire, "out", `GET ${path}`);
  const start = performance.now();
  try {
    const response = await fetch(path, { cache: "no-store" });
    const text = await response.text();
    head(wire, response, ms(start));
    line(wire, "body", text.trimEnd() || "(no content)");
  } catch {
    lost(wire);
  }
}

for (const button of document.querySelectorAll("[data-get]")) {
  button.addEventListener("click", () => {
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", other === button);
    get(wireOf(button.closest("section").id), button.dataset.get);
  });
}

const socketOrigin = location.origin.replace("http", "ws");
for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
for (const place of document.querySelectorAll("[data-socket]")) place.textContent = socketOrigin;

// -- StreamResponse ----------------------------------------------------------------------------

$("stream-go").addEventListener("click", async ({ target }) => {
  const wire = wireOf("stream");
  const start = performance.now();
  target.disabled = true;
  wire.replaceChildren();
  for (const tick of $("stream-track").querySelectorAll("i")) tick.remove();
  line(wire, "out", "GET /stream");
  try {
    const response = await fetch("/stream", { cache: "no-store" });
    line(wire, "in status", `${response.status} ${response.statusText}`, ms(start));
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await pieces.read(); !piece.done; piece = await pieces.read()) {
      const tick = document.createElement("i");
      tick.style.left = `${Math.min(99, (performance.now() - start) / 20)}%`;
      $("stream-track").append(tick);
      line(wire, "in", piece.value.trimEnd(), ms(start));
    }
    line(wire, "field", "end of the body; trailer x-chunks: 8 (browsers keep trailers to themselves)", ms(start));
  } catch {
    lost(wire);
  }
  target.disabled = false;
});

// -- EventStream: the browser itself comes again, with the id of the last second it saw ------------

let clock = null;
let ticks = null;

function tick({ data, lastEventId }) {
  const second = Number(lastEventId);
  if (ticks.last !== null) ticks.missed += second - ticks.last - 1;
  ticks.last = second;
  ticks.seen += 1;
  $("clock-now").textContent = data;
  $("clock-seen").textContent = ticks.seen;
  $("clock-missed").textContent = ticks.missed;
}

function startClock() {
  const wire = wireOf("clock");
  const source = new EventSource("/clock");
  clock = source;
  ticks = { last: null, seen: 0, missed: 0, streams: 0, open: false };
  wire.replaceChildren();
  line(wire, "out", "GET /clock");
  source.addEventListener("open", () => {
    ticks.streams += 1;
    ticks.open = true;
    $("clock-streams").textContent = ticks.streams;
    line(wire, "in status", "200 OK, text/event-stream", new Date().toLocaleTimeString("en-GB"));
  });
  source.addEventListener("message", tick);
  source.addEventListener("error", () => {
    if (source !== clock) return;
    if (source.readyState === EventSource.CLOSED) return stopClock();
    line(wire, "field", ticks.open ? "the stream is over" : "no answer yet");
    ticks.open = false;
    line(wire, "out", `GET /clock, last-event-id: ${ticks.last ?? "none"}`);
  });
}

function stopClock() {
  clock.close();
  clock = null;
  press("clock-go", false, "Start the clock");
  line(wireOf("clock"), "field", "closed");
}

function press(id, pressed, text) {
  $(id).setAttribute("aria-pressed", pressed);
  $(id).textContent = text;
}

$("clock-go").addEventListener("click", () => {
  if (clock) return stopClock();
  startClock();
  press("clock-go", true, "Stop the clock");
});

// -- Broadcast: one event stream for the page, closed while nobody looks ---------------------------

let events = null;
let seen = ""; // the last id, for when the page is looked at again

function listen() {
  if (events || document.hidden) return;
  const url = new URL("/events", location.href);
  if (seen) url.searchParams.set("after", seen);
  events = new EventSource(url);
  on("beat", (beat) => { mark("beat"); see(beat); });
  on("note", (note) => { mark("note"); pin(note); });
  on("progress", progressed);
  events.addEventListener("error", () => {
    state("gone", "no answer");
    $("lanes").replaceChildren();
    for (const name of counts) $(name).textContent = "–";
    if (events?.readyState === EventSource.CLOSED) { leave(); setTimeout(listen, 3000); }
  });
}

function on(type, told) {
  events.addEventListener(type, ({ data, lastEventId }) => {
    seen = lastEventId || seen;
    told(JSON.parse(data));
  });
}

function leave() {
  events?.close();
  events = null;
}

function state(name, text) {
  if ($("status").dataset.state === name) return;
  $("status").dataset.state = name;
  $("status").textContent = text;
}

let marked = 0;

function mark(kind) {
  if (kind === "beat" && performance.now() - marked < 300) return; // beats that were missed come all at once
  marked = performance.now();
  const tick = document.createElement("i");
  tick.className = kind;
  tick.addEventListener("animationend", () => tick.remove());
  $("events-track").append(tick);
  while ($("events-track").children.length > 120) $("events-track").querySelector("i").remove();
}

function pin(text) {
  const note = document.createElement("li");
  note.textContent = text;
  $("notes").querySelector(".none")?.remove();
  $("notes").prepend(note);
  while ($("notes").children.length > 20) $("notes").lastElementChild.remove();
}

$("note").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("note-text").value;
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ text }) };
  try {
    const response = await fetch("/note", options);
    if (response.ok) $("note-text").value = "";
    else pin(`The note was refused: ${response.status} ${response.statusText}`);
  } catch {
    pin("No answer: is the server still there?");
  }
});

document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
addEventListener("pagehide", leave);
addEventListener("pageshow", listen);

// -- what the server sees ----------------------------------------------------------------------

const counts = ["active", "accepted", "requests"];
let you = ""; // the peer that whoami told us, marked among the lanes
const longest = new Map(); // by lane and phase: the most time it had left, which is a full line

function see(beat) {
  state(beat.status, beat.status);
  for (const name of counts) $(name).textContent = beat[name].toLocaleString("en");
  const lanes = new Map([...$("lanes").children].map((lane) => [lane.dataset.peer, lane]));
  for (const connection of beat.connections) {
    const lane = lanes.get(connection.peer) ?? laneOf(connection.peer);
    lanes.delete(connection.peer);
    show(lane, connection);
  }
  for (const lane of lanes.values()) lane.remove();
}

function laneOf(peer) {
  const lane = document.createElement("li");
  lane.dataset.peer = peer;
  lane.innerHTML = '<p><span></span><span class="phase"></span></p><p class="doing"></p><p><small></small><small></small></p><div class="left"><b></b></div>';
  lane.querySelector("span").textContent = peer;
  $("lanes").append(lane);
  return lane;
}

function show(lane, { phase, age, left, requests, doing }) {
  const [served, rest] = lane.querySelectorAll("small");
  const key = `${lane.dataset.peer} ${phase}`;
  const full = Math.max(longest.get(key) ?? 0, left ?? 0);
  longest.set(key, full);
  lane.dataset.phase = phase;
  lane.classList.toggle("you", lane.dataset.peer === you);
  lane.querySelector(".phase").textContent = phase;
  lane.querySelector(".doing").textContent = doing;
  served.textContent = `${requests} request${requests === 1 ? "" : "s"}, ${Math.round(age)} s old`;
  rest.textContent = left === null ? "no deadline" : `${Math.max(0, Math.round(left))} s left`;
  lane.querySelector(".left").classList.toggle("none", left === null);
  lane.querySelector("b").style.width = `${full ? Math.max(0, (100 * (left ?? 0)) / full) : 0}%`;
}

$("more").addEventListener("click", ({ target }) => {
  target.setAttribute("aria-expanded", $("lanes").classList.toggle("open"));
});

// -- FileResponse ------------------------------------------------------------------------------

$("file-go").addEventListener("click", async () => {
  const wire = wireOf("file");
  wire.replaceChildren();
  line(wire, "out", "GET /file");
  const start = performance.now();
  try {
    const response = await fetch("/file", { cache: "no-store" });
    const text = await response.text();
    $("file-size").textContent = octets(new Blob([text]).size);
    $("file-time").textContent = ms(start);
    $("file-lines").textContent = text.trimEnd().split("\n").length;
    head(wire, response, ms(start));
    line(wire, "body", text.slice(0, text.indexOf('"""', 3)).replace(/^"""/, "").trim());
    wire.scrollTop = 0;
  } catch {
    lost(wire);
  }
});

// -- WebSocket ---------------------------------------------------------------------------------

let socket = null;
let sent = [];

function connect() {
  const wire = wireOf("echo");
  const start = performance.now();
  line(wire, "out", "GET /echo, upgrade: websocket");
  socket = new WebSocket(`${socketOrigin}/echo`);
  socket.addEventListener("open", () => line(wire, "in status", `101 Switching Protocols${socket.extensions && ", compressed"}`, ms(start)));
  socket.addEventListener("message", ({ data }) => line(wire, "in", data, ms(sent.shift())));
  socket.addEventListener("close", ({ code, reason }) => {
    line(wire, "field", `closed, ${code}${reason ? `: ${reason}` : ""}`);
    [socket, sent] = [null, []];
    $("talk-close").disabled = true;
  });
  $("talk-close").disabled = false;
  return new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("close", reject, { once: true });
  });
}

let opening = null; // two quick messages share one connection

$("talk").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("talk-text").value;
  try {
    if (!socket) opening = connect();
    await opening;
  } catch {
    return lost(wireOf("echo"));
  }
  line(wireOf("echo"), "out", text);
  sent.push(performance.now());
  socket.send(text);
});

$("talk-close").addEventListener("click", () => socket?.close(1000));

// -- ticker: comes again a second after it was closed ---------------------------------------------

const ticker = { socket: null, prices: [], count: 0 };

function quote() {
  ticker.socket = new WebSocket(`${socketOrigin}/ticker`);
  ticker.socket.addEventListener("message", ({ data }) => priced(Number(data)));
  ticker.socket.addEventListener("close", () => {
    if (ticker.socket) setTimeout(() => ticker.socket && quote(), 1000);
  });
}

function priced(price) {
  const prices = ticker.prices;
  prices.push(price);
  if (prices.length > 121) prices.shift();
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const y = (value) => 56 - (52 * (value - low)) / (high - low || 1);
  const change = price - (prices.at(-2) ?? price);
  $("ticker-line").setAttribute("points", prices.map((value, at) => `${2 * at},${y(value).toFixed(1)}`).join(" "));
  $("ticker-price").textContent = price.toFixed(2);
  $("ticker-change").textContent = `${change < 0 ? "▼" : "▲"} ${Math.abs(change).toFixed(2)}`;
  $("ticker-change").className = change < 0 ? "down" : "up";
  $("ticker-count").textContent = ticker.count += 1;
  $("ticker-low").textContent = low.toFixed(2);
  $("ticker-high").textContent = high.toFixed(2);
}

$("ticker-go").addEventListener("click", () => {
  if (ticker.socket) {
    const socket = ticker.socket;
    ticker.socket = null;
    socket.close(1000);
    return press("ticker-go", false, "Start the ticker");
  }
  [ticker.prices, ticker.count] = [[], 0];
  quote();
  press("ticker-go", true, "Stop the ticker");
});

// -- upload ------------------------------------------------------------------------------------

let upload = null;

function progressed({ id, octets: read }) {
  if (upload?.id === id) meter("upload-read", read, upload.total);
}

function meter(id, done, total) {
  $(id).value = total ? done / total : 1;
  $(`${id}-n`).textContent = octets(done);
}

function send(blob) {
  const wire = wireOf("upload");
  const start = performance.now();
  const request = new XMLHttpRequest();
  upload = { id: Math.random().toString(36).slice(2), total: blob.size };
  $("upload-go").disabled = true;
  meter("upload-sent", 0, blob.size);
  meter("upload-read", 0, blob.size);
  wire.replaceChildren();
  line(wire, "out", `POST /upload, ${octets(blob.size)}`);
  request.upload.addEventListener("progress", ({ loaded }) => meter("upload-sent", loaded, blob.size));
  request.addEventListener("load", () => {
    line(wire, request.status < 400 ? "in status" : "in status bad", `${request.status} ${request.statusText}`, ms(start));
    if (request.status >= 400) return line(wire, "body", request.status === 413 ? "Above the server's --max-body." : "");
    const answer = JSON.parse(request.responseText);
    meter("upload-read", answer.octets, blob.size);
    line(wire, "body", `${answer.octets} octets\nsha256 ${answer.sha256}`);
  });
  request.addEventListener("error", () => line(wire, "in status bad", "The server closed the connection: too large?"));
  request.addEventListener("loadend", () => { $("upload-go").disabled = false; });
  request.open("POST", `/upload?id=${upload.id}`);
  request.send(blob);
}

$("upload-go").addEventListener("click", () => send(new Blob([new Uint8Array(8 * 1024 * 1024)])));
$("upload-file").addEventListener("change", ({ target }) => {
  if (target.files[0]) send(target.files[0]);
  target.value = "";
});

// -- keep-alive --------------------------------------------------------------------------------

$("whoami-go").addEventListener("click", async () => {
  let facts = { peer: "no answer: is the server still there?" };
  try {
    facts = await (await fetch("/whoami", { cache: "no-store" })).json();
    you = facts.peer;
  } catch {
    // shown as the peer
  }
  $("facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => {
      const row = document.createElement("div");
      const [term, about] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, about.textContent] = [name, value];
      row.append(term, about);
      return row;
    }),
  );
});

listen();
