/** The page: what is live goes to its pictures, map, plots and health; what is imagined, to the film. */

import { element, figure, make, say } from "./dom.js";
import { Health, levelOf } from "./health.js";
import { Live } from "./live.js";
import { MapView } from "./map.js";
import { MemoryView } from "./memory.js";
import { Picture } from "./picture.js";
import { plotOf } from "./plot.js";
import { Rollout } from "./rollout.js";
import { applyTheme } from "./theme.js";

const STATES = {
  live: "live", waiting: "waiting", silent: "no data", gone: "no connection", locked: "token wanted",
};

const AGES = { memory_query: "memory query" };

const health = new Health();
const pictures = {
  camera: new Picture(element("camera"), "/frames/camera.jpg", shaped),
  foreseen: new Picture(element("foreseen"), "/frames/foreseen.jpg"),
};
const errorPlot = plotOf("error", [
  { label: "with memory", colour: "line-1" },
  { label: "without", colour: "line-2" },
  { label: "nothing changes", colour: "line-3", dash: [5, 4] },
]);
const timingPlot = plotOf("timing", [
  { label: "latents", colour: "line-1", unit: "Hz" },
  { label: "oldest age", colour: "line-2", unit: "ms", isRight: true },
]);
const map = new MapView(setGoal);
const memory = new MemoryView({
  onCells: (cells) => map.set({ cells }),
  onHits: (hits) => map.set({ hits }),
  onStats: showMemory,
  isAway: () => status !== null && status.mode === "graph" && live.state !== "live",
});
const rollout = new Rollout({
  onPath: (path) => map.set({ path }),
  onChosen: (step) => map.set({ chosen: step && step.pose }),
  onState: (level, why) => health.set("imagining", level, why),
});
const live = new Live("/stream-live?camera=true", { onOpen: opened, onEvent: happened, onState: connection });
const STATUS_EVERY_MS = 5000;
let status = null, newest = null, toldAt = 0;
/** Kept for as long as the page is open, and nowhere else. */
let token = "";

/** What is foreseen or remembered was squeezed into a square: it is shown in the camera's shape. */
function shaped(width, height) {
  if (width && height) document.documentElement.style.setProperty("--aspect", `${width} / ${height}`);
}

async function opened() {
  health.begin();
  for (const picture of Object.values(pictures)) picture.restart();
  map.forget();
  await readStatus();
  if (status === null) return;
  memory.configure(status.has_memory);
  if (!status.has_memory) health.set("memory", "warn", "none is served");
}

async function readStatus() {
  try {
    const response = await fetch("/status");
    if (!response.ok) return;
    status = await response.json();
  } catch {
    return; // The stream will break off, too, and be opened again.
  }
  say(element("served"), `${status.artifact} · ${status.encoder_id} · ${status.mode}`);
  rollout.configure(status);
  element("goal").disabled = !status.can_drive;
  element("goal").title = status.can_drive ? "Then click on the map" : "No planner runs, or goals are not allowed (allow_goals)";
}

function happened(event) {
  const { name, data } = event;
  if (name === "frame") showFrame(data);
  else if (name === "source") {
    const level = { failed: "error", ended: "warn", silent: "stale" }[data.state] || "ok";
    health.set("source", level, data.detail, data.state);
    if (data.state === "restarted") beganAnew();
  } else if (name === "goal") toldGoal(data);
  else if (name === "memory") {
    memory.forget();
    memory.refresh();
  } else if (name === "gap") health.set("events", "warn", `${data.lost} events came too late to be kept`);
  else if (data.node || data.name) {
    // The message may be cut; what is degraded, with its reasons, stands among the values.
    const degraded = Object.entries(data.values || {}).filter(([key, value]) => key.startsWith("degraded/") && value);
    const untold = degraded.filter(([, value]) => !String(data.message).includes(value));
    const reasons = untold.map(([key, value]) => `${key.slice("degraded/".length)}: ${value}`);
    const why = [data.message, ...reasons].filter(Boolean).join("; ");
    health.set(String(data.node || data.name), levelOf(data.level), why === "ok" ? "" : why);
  }
}

function beganAnew() {
  map.forget();
  memory.forget();
}

function showFrame(frame) {
  if (newest && frame.stamp_s < newest.stamp_s) beganAnew();
  newest = frame;
  for (const [name, picture] of Object.entries(pictures)) picture.show(frame.pictures[name] || 0);
  const furthest = frame.errors[frame.errors.length - 1];
  // A frame repeats the last errors; only new ones belong to its place.
  const isFresh = furthest && Math.abs(furthest.stamp_ns - frame.stamp_ns) < 1e9;
  map.observe(frame.pose, frame.frame_id, isFresh ? furthest.error : null, frame.expected_pose);
  if (furthest) errorPlot.add(frame.stamp_s, [furthest.error, furthest.without_memory, furthest.persistence]);
  const ages = Object.values(frame.ages_ms || {}).filter(Number.isFinite);
  timingPlot.add(frame.stamp_s, [frame.rates.latent_hz, ages.length ? Math.max(...ages) : null]);
  showPlanned(frame.planned || []);
  const forecast = frame.forecasts[frame.forecasts.length - 1];
  memory.used(forecast ? forecast.memory_ids : []);
  rollout.observe(frame);
  if (performance.now() - toldAt > 250) tellFigures(frame, furthest, forecast);
}

/** Shows where a planner would go now, and in the legend what that is; nothing where none drives. */
function showPlanned(points) {
  const isPlanned = points.length > 0;
  if (!isPlanned && !map.planned.length) return;
  map.set({ planned: points.map(([x, y]) => ({ x, y })) });
  for (const each of document.querySelectorAll("#map-legend .planned")) each.hidden = !isPlanned;
}

function tellFigures(frame, furthest, forecast) {
  toldAt = performance.now();
  errorPlot.tell();
  timingPlot.tell();
  say(element("foreseen-ago"), forecast ? `${figure(forecast.horizon_s)} s ago` : "");
  say(element("errors-horizon"), furthest ? `${figure(furthest.horizon_s)} s ahead, NMSE` : "");
  const entries = {
    "latents": `${figure(frame.rates.latent_hz)} Hz`,
    "surprise": figure(frame.surprise),
    "gate": forecast ? figure(forecast.gate) : "–",
    "place": forecast ? (forecast.revisit ? "seen before" : "new") : "–",
    "memories": frame.memory && frame.memory.count !== undefined ? String(frame.memory.count) : "–",
    "missed": `${frame.missed} frames`,
    "skipped here": `${frame.skipped || 0} frames`,
    "action": frame.action ? frame.action.map((value) => figure(value)).join(", ") : "–",
    ...Object.fromEntries(Object.entries(frame.ages_ms || {}).map(([name, value]) => [AGES[name] || `${name} age`, `${figure(value)} ms`])),
  };
  const list = element("figures");
  for (const [name, text] of Object.entries(entries)) {
    let entry = list.querySelector(`[data-name="${CSS.escape(name)}"]`);
    if (!entry) {
      entry = make("div", { "data-name": name }, make("dt", {}, name), make("dd"));
      list.append(entry);
    }
    say(entry.lastChild, text);
  }
}

function showMemory(stats, why) {
  if (!stats) {
    health.set("memory", "error", why);
    return;
  }
  const text = `${stats.memory_count} in ${stats.cell_count} cells, ${stats.backend}, ${stats.pending_writes} not yet written`;
  health.set("memory", stats.degraded.length ? "warn" : "ok", [text, ...stats.degraded].join("; "));
}

function connection(state, sinceMs, reason) {
  const isBack = state === "live" && document.body.dataset.state !== "live";
  document.body.dataset.state = state;
  element("connection").dataset.state = state;
  const since = sinceMs !== null && state !== "live" ? ` for ${Math.floor(sinceMs / 1000)} s` : "";
  say(element("connection-text"), `${STATES[state]}${since}`);
  if (state === "silent") showPlanned([]);
  if (isBack) memory.refresh();
  health.away(state === "gone" || state === "locked");
  const level = { live: "ok", waiting: "warn", silent: "stale", gone: "error", locked: "error" }[state];
  const why = { silent: `connected, but no frame${since}: the graph or the recording is gone` }[state] || reason;
  health.set("connection", level, why, STATES[state]);
  say(element("camera-age"), sinceMs !== null && sinceMs > 2000 ? `${Math.floor(sinceMs / 1000)} s old` : "");
  if (state === "locked" && !element("login").open) element("login").showModal();
}

async function setGoal(goal) {
  try {
    const response = await posted("/goal", goal);
    if (response.ok) return;
    map.set({ goal: null });
    const said = await response.json().catch(() => ({}));
    health.set("goal", "warn", said.detail || `status ${response.status}`);
    if (response.status === 401) element("login").showModal();
  } catch (error) {
    health.set("goal", "error", error.message);
  }
}

async function cancelGoal() {
  await posted("/goal/cancel", {}).catch(() => null);
}

/** Posts JSON; what moves a robot wants the token itself, where there is one. */
function posted(url, body) {
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  return fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
}

function toldGoal({ state, detail, x, y }) {
  const isOn = ["sent", "locating", "driving", "turning"].includes(state);
  element("goal-cancel").hidden = !isOn;
  map.set({ goal: isOn || state === "reached" ? { x, y } : null });
  const level = isOn || state === "reached" || state === "cancelled" ? "ok" : "warn";
  health.set("goal", level, [`${figure(x)}, ${figure(y)} m`, detail].filter(Boolean).join(": "), state);
}

function listen() {
  const changeTheme = applyTheme(() => { map.draw(); errorPlot.draw(); timingPlot.draw(); });
  element("goal-cancel").addEventListener("click", cancelGoal);
  element("theme").addEventListener("click", changeTheme);
  element("help-open").addEventListener("click", () => element("help").showModal());
  element("login").addEventListener("close", login);
  const keys = {
    s: () => rollout.toggle(), m: () => element("memory").click(), t: changeTheme,
    f: () => map.follow(!map.isFollowing), "?": () => element("help").showModal(),
    "[": () => moveHorizon(-1), "]": () => moveHorizon(1),
  };
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog");
    if (isTyping || event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}

function moveHorizon(by) {
  const slider = element("horizon");
  slider.value = Number(slider.value) + by;
  slider.dispatchEvent(new Event("input"));
}

async function login() {
  const given = element("token").value;
  element("token").value = "";
  if (!given) return;
  const response = await posted("/login", { token: given }).catch(() => null);
  if (response && response.ok) {
    token = given;
    say(element("login-text"), "");
    live.unlocked();
    return;
  }
  say(element("login-text"), response ? "that token is wrong" : "the service does not answer");
  element("login").showModal();
}

listen();
setInterval(() => { if (live.isHeard && !document.hidden) readStatus(); }, STATUS_EVERY_MS);
live.start();
window.worldModel = { live, rollout, map };
