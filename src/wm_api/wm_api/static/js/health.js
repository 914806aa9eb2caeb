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

  /** Says how a part is. */
  set(name, level, why = "", word = "") {
    if (!this.rows.has(name)) {
      const row = make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "state" }), make("td"));
      const after = [...this.rows.keys()].filter((other) => other < name).sort().pop();
      if (after) this.rows.get(after).after(row);
      else element("parts").prepend(row);
      this.rows.set(name, row);
    }
    const [, state, reasons] = this.rows.get(name).children;
    const text = word ? `${WORDS[level][0]} ${word}` : WORDS[level];
    if (state.textContent !== text) state.textContent = text;
    if (state.dataset.level !== level) state.dataset.level = level;
    if (reasons.textContent !== why) reasons.textContent = why;
  }

  /** Forgets the parts that a test names. */
  drop(isGone) {
    for (const [name, row] of this.rows) {
      if (isGone(name)) {
        row.remove();
        this.rows.delete(name);
      }
    }
  }
}
