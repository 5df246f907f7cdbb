// A closer look at a task or a connection: where it waits, what is in it, what it was asked last. Kept up to date.
"use strict";

const closer = { id: null, from: null };

async function look(id) {
  closer.from = document.activeElement;
  closer.id = id;
  await refresh();
  $("close").focus();
}

async function refresh() {
  const id = closer.id;
  const row = world.connections.get(id) || world.tasks.get(id) || {};
  let found = { name: row.peer || row.name || "", stack: [row.where || `${row.phase} ${row.doing}`] };
  if (source) {
    const worker = company.chosen === null ? "" : `&worker=${company.chosen}`;
    const answer = await fetch(`closer?id=${encodeURIComponent(id)}${worker}`).catch(() => null);
    if (closer.id !== id) return;
    if (answer?.ok) found = await answer.json();
    else if (!$("detail").hidden) return put($("detail-note"), answer ? (await answer.text()).trim() : "The server has gone.");
    else found.stack = [answer ? (await answer.text()).trim() : "the server has gone"];
    if (closer.id !== id) return;
  }
  drawDetail(found);
}

function drawDetail({ name, stack, below = [], more = 0, streams = [], websockets = [], recent = [], protocol, requests, t }) {
  put($("detail-name"), name);
  put($("detail-note"), protocol ? `${protocol}, ${requests} request${requests === 1 ? "" : "s"}` : "");
  section("detail-hand", "ul", streams, (each) => make("li", "", make("b", "", each.doing), make("span", "chip", each.phase),
    make("ol", "", ...each.stack.map((line) => make("li", "", line)))));
  section("detail-sockets", "ul", websockets, (each) => make("li", "", make("b", "", each.target), ` ${socketInWords(each, t)}`));
  section("detail-recent", "tbody", recent, (each) => {
    const line = make("tr", "", make("td", "", `${each.method} ${each.target}`));
    const status = each.status ? `${each.status}${each.ended ? "" : " cut"}` : "none";
    for (const text of [status, seconds(each.seconds), octets(each.received), octets(each.sent), `${Math.max(0, t - each.at).toFixed(0)} s`])
      line.append(make("td", "n", text));
    line.dataset.status = Math.floor(each.status / 100);
    return line;
  });
  $("detail-recent").hidden = !protocol;
  put($("detail-recent").querySelector(".hint"), recent.length ? "" : "None has ended since this page shows it.");
  $("detail-recent").querySelector("table").hidden = !recent.length;
  $("detail-where").hidden = !stack.length; // who is parked needs no task
  $("detail-stack").replaceChildren(...stack.map((line) => make("li", "", line)));
  section("detail-inside", "ul", below, (line) => make("li", "", line));
  if (more > 0) $("detail-below").append(make("li", "", `and ${more} more`));
  $("detail").hidden = false;
}

function socketInWords({ since, subprotocol, compressed, received, sent, end }, t) {
  const many = `${received} message${received === 1 ? "" : "s"} in, ${sent} out`;
  const how = [subprotocol, compressed ? "compressed" : ""].filter(Boolean).map((word) => `, ${word}`).join("");
  if (!end) return `open for ${Math.max(0, t - since).toFixed(0)} s${how}: ${many}`;
  return `closed by ${end.by} with ${end.code}${end.reason ? ` "${end.reason}"` : ""}${how}: ${many}`;
}

function section(id, list, rows, row) {
  $(id).hidden = !rows.length;
  $(id).querySelector(list).replaceChildren(...rows.map(row));
}

function seconds(time) {
  return time < 0.001 ? `${(time * 1e6).toFixed(0)} µs` : time < 1 ? `${(time * 1e3).toFixed(1)} ms` : `${time.toFixed(1)} s`;
}

function octets(count) {
  return count < 10000 ? String(count) : count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

function closeDetail() {
  if ($("detail").hidden) return;
  closer.id = null;
  $("detail").hidden = true;
  if (closer.from?.isConnected) closer.from.focus();
}

$("close").addEventListener("click", closeDetail);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeDetail(); });
