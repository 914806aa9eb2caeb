/** What each part is doing, with reasons. */

import { element, make } from "./dom.js";

const WORDS = { ok: "● well", warn: "▲ degraded", error: "◆ failed", stale: "◆ gone" };
const LEVELS = ["ok", "warn", "error", "stale"];

/** Returns a level by its name, or by its number as diagnostic_msgs counts them. */
export function levelOf(value) {
  if (typeof value === "number") return LEVELS[Math.min(value, 3)];
  const name = String(value || "ok").toLowerCase();
  return LEVELS.includes(name) ? name : name === "degraded" ? "warn" : "ok";
}

export class Health {
  constructor() {
    this.rows = new Map();
  }

  /** Says how a part is. What is not well stands first. */
  set(name, level, why = "", word = "") {
    const row = this.rows.get(name) || this.row(name), [, state, reasons] = row.children;
    const text = word ? `${WORDS[level][0]} ${word}` : WORDS[level];
    if (state.textContent !== text) state.textContent = text;
    if (reasons.textContent !== why) reasons.textContent = why;
    if (state.dataset.level === level) return;
    state.dataset.level = level;
    row.dataset.order = `${level === "ok" ? 1 : 0}${name}`;
    const after = [...element("parts").children].find((other) => other !== row && other.dataset.order > row.dataset.order);
    element("parts").insertBefore(row, after || null);
  }

  row(name) {
    const row = make("li", {}, make("span", {}, name), make("span", { class: "state" }), make("span", { class: "why" }));
    this.rows.set(name, row);
    return row;
  }
}
