/** What each part is doing, with reasons. */

import { element, make } from "./dom.js";

const WORDS = { ok: "● well", warn: "▲ degraded", error: "◆ failed", stale: "◆ gone" };
const LEVELS = ["ok", "warn", "error", "stale"];
/** What the page knows by itself; all else the service told. */
const OWN = ["connection", "imagining", "memory"];

/** Returns a level by its name, or by its number as diagnostic_msgs counts them. */
export function levelOf(value) {
  if (typeof value === "number") return LEVELS[Math.min(value, 3)];
  const name = String(value || "ok").toLowerCase();
  return LEVELS.includes(name) ? name : name === "degraded" ? "warn" : "ok";
}

export class Health {
  constructor() {
    this.rows = new Map();
    this.isAway = false;
  }

  /** Forgets what the service told: it tells how things stand as soon as it is there. */
  begin() {
    for (const [name, row] of this.rows) {
      if (OWN.includes(name)) continue;
      row.remove();
      this.rows.delete(name);
    }
  }

  /** Says whether the service is away: what it told is of before. */
  away(isAway) {
    if (isAway === this.isAway) return;
    this.isAway = isAway;
    for (const [name, row] of this.rows) this.show(name, row);
  }

  /** Says how a part is. What is not well stands first. */
  set(name, level, why = "", word = "") {
    const row = this.rows.get(name) || this.row(name), reasons = row.children[2];
    if (reasons.textContent !== why) reasons.textContent = why;
    row.dataset.text = word ? `${WORDS[level][0]} ${word}` : WORDS[level];
    const isMoved = row.dataset.level !== level;
    row.dataset.level = level;
    this.show(name, row);
    if (!isMoved) return;
    row.dataset.order = `${level === "ok" ? 1 : 0}${name}`;
    const after = [...element("parts").children].find((other) => other !== row && other.dataset.order > row.dataset.order);
    element("parts").insertBefore(row, after || null);
  }

  show(name, row) {
    const state = row.children[1], isOld = this.isAway && !OWN.includes(name);
    const text = isOld ? `◇ was ${row.dataset.text.slice(2)}` : row.dataset.text;
    if (state.textContent !== text) state.textContent = text;
    state.dataset.level = isOld ? "old" : row.dataset.level;
  }

  row(name) {
    const row = make("li", {}, make("span", {}, name), make("span", { class: "state" }), make("span", { class: "why" }));
    this.rows.set(name, row);
    return row;
  }
}
