/** Vectors given by hand: sliders, and numbers pasted as text. */

import { figure, make, numbers } from "./dom.js";

export class Sliders {
  /** Takes where they go, one {label, low, high, value} each, and whom to tell. */
  constructor(place, specs, onChange) {
    this.inputs = specs.map(({ label, low, high, value }) => {
      const step = (high - low) / 200 || 0.01;
      const input = make("input", { type: "range", min: low, max: high, step: "any", value, "aria-label": label });
      input.addEventListener("keydown", (event) => {
        const sign = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
        if (!sign) return;
        event.preventDefault();
        input.value = Number(input.value) + sign * step * (event.shiftKey ? 10 : 1);
        input.dispatchEvent(new Event("input"));
      });
      const output = make("output");
      const tell = () => { output.textContent = figure(Number(input.value)); };
      input.addEventListener("input", () => { tell(); onChange(); });
      tell();
      place.append(make("div", { class: "slider" }, make("span", {}, label), input, output));
      return { input, tell };
    });
  }

  /** The numbers. */
  get values() {
    return this.inputs.map(({ input }) => Number(input.value));
  }

  set values(given) {
    this.inputs.forEach(({ input, tell }, at) => {
      if (given[at] < Number(input.min)) input.min = given[at];
      if (given[at] > Number(input.max)) input.max = given[at];
      input.value = given[at];
      tell();
    });
  }
}

/** Returns the rows of a text, each of a size, or says what is wrong. */
export function rowsOf(text, size) {
  const lines = text.replace(/\]\s*,\s*\[/g, "\n").split("\n").filter((line) => line.trim() !== "");
  const rows = lines.map(numbers);
  const wrong = rows.findIndex((row) => row === null || row.length !== size);
  if (!rows.length) return { rows: null, text: "no action given" };
  if (wrong >= 0) return { rows: null, text: `line ${wrong + 1}: expected ${size} numbers` };
  return { rows, text: `${rows.length} steps` };
}
