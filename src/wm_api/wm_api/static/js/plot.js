/** Lines over time on a canvas: the last minute, in rings of fixed size. Each unit has an axis: left, or right. */

import { colours, element, figure, make, onceAFrame, sharpened } from "./dom.js";

const SAMPLES = 1500;
const LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 20, UNIT = 14;
/** Between values further apart nothing is known. */
const GAP_S = 1;

export class Plot {
  /** Takes a canvas, the place of its legend, lines as {label, colour (of the theme), unit, dash, isRight}, and seconds shown. */
  constructor(canvas, legend, lines, seconds = 60) {
    this.canvas = canvas;
    this.lines = lines;
    this.seconds = seconds;
    this.sides = [false, true].filter((isRight) => lines.some((line) => Boolean(line.isRight) === isRight));
    this.times = new Float64Array(SAMPLES);
    this.values = lines.map(() => new Float32Array(SAMPLES));
    this.count = 0;
    this.draw = onceAFrame(() => this.paint());
    this.outputs = lines.map((line) => {
      const output = make("span");
      const mark = make("i", { class: "line", style: `color: var(--${line.colour}); border-top-style: ${line.dash ? "dashed" : "solid"}` });
      legend.append(make("span", {}, mark, `${line.label} `, output));
      return output;
    });
    new ResizeObserver(this.draw).observe(canvas);
  }

  /** Takes one value for each line at a time [s]; null where there is none. */
  add(time, values) {
    if (this.count && time < this.time(this.count - 1)) this.count = 0;
    const at = this.count % SAMPLES;
    this.times[at] = time;
    values.forEach((value, line) => { this.values[line][at] = value === null || value === undefined ? NaN : value; });
    this.count += 1;
    this.draw();
  }

  time(index) {
    return this.times[index % SAMPLES];
  }

  /** Says the last values in words. */
  tell() {
    const last = (this.count - 1) % SAMPLES;
    const said = this.lines.map((line, at) => {
      const text = this.count ? `${figure(this.values[at][last])} ${line.unit || ""}`.trim() : "–";
      if (this.outputs[at].textContent !== text) this.outputs[at].textContent = text;
      return `${line.label} ${text}`;
    });
    this.canvas.setAttribute("aria-label", said.join(", "));
  }

  paint() {
    const { context, width, height } = sharpened(this.canvas);
    const theme = colours(["text", "quiet", "grid", ...this.lines.map((line) => line.colour)]);
    if (!this.count || width < 80) return;
    const newest = this.time(this.count - 1), first = this.firstShown(newest);
    const right = this.sides.length > 1 ? LEFT : RIGHT, above = this.lines.some((line) => line.unit) ? TOP + UNIT : TOP;
    const frame = { left: LEFT, right: width - right, top: above, bottom: height - BOTTOM };
    const x = (time) => frame.left + (frame.right - frame.left) * (1 - (newest - time) / this.seconds);
    for (const isRight of this.sides) {
      const drawn = this.lines.map((line, at) => ({ ...line, at })).filter((line) => Boolean(line.isRight) === isRight);
      const top = niceTop(this.largest(first, drawn));
      const y = (value) => frame.top + (frame.bottom - frame.top) * (1 - Math.min(value, top) / top);
      this.paintAxis(context, theme, frame, top, drawn[0], isRight);
      for (const line of drawn) this.paintLine(context, theme[line.colour], line, first, x, y);
    }
    this.paintTime(context, theme, frame, height);
  }

  paintLine(context, colour, { at, dash }, first, x, y) {
    context.strokeStyle = colour;
    context.lineWidth = dash ? 1.5 : 2;
    context.setLineDash(dash || []);
    context.beginPath();
    let isDown = false, before = -Infinity;
    for (let index = first; index < this.count; index += 1) {
      const value = this.values[at][index % SAMPLES], time = this.time(index);
      if (Number.isNaN(value)) isDown = false;
      else {
        context[isDown && time - before < GAP_S ? "lineTo" : "moveTo"](x(time), y(value));
        isDown = true;
        before = time;
      }
    }
    context.stroke();
    context.setLineDash([]);
  }

  firstShown(newest) {
    let first = Math.max(0, this.count - SAMPLES + 1);
    while (first < this.count - 1 && this.time(first) < newest - this.seconds) first += 1;
    return first;
  }

  largest(first, lines) {
    let most = 0;
    for (const { at } of lines) {
      for (let index = first; index < this.count; index += 1) {
        const value = this.values[at][index % SAMPLES];
        if (value > most) most = value;
      }
    }
    return most;
  }

  paintAxis(context, theme, { left, right, top: above, bottom }, top, { unit, colour }, isRight) {
    const edge = isRight ? right + 6 : left - 6;
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = this.sides.length > 1 ? theme[colour] : theme.quiet;
    context.textAlign = isRight ? "left" : "right";
    for (let tick = 0; tick <= 4; tick += 1) {
      const at = Math.round(above + (bottom - above) * (1 - tick / 4)) + 0.5;
      if (!isRight) line(context, theme.grid, left, right, at);
      if (tick % 2 === 0) context.fillText(tickText((top * tick) / 4, top), edge, at + 4);
    }
    if (unit) context.fillText(unit, edge, UNIT - 3);
  }

  paintTime(context, theme, { left, right }, height) {
    context.fillStyle = theme.quiet;
    context.textAlign = "left";
    context.fillText(`−${this.seconds} s`, left, height - 5);
    context.textAlign = "right";
    context.fillText("now", right, height - 5);
  }
}

function line(context, colour, left, right, at) {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(left, at);
  context.lineTo(right, at);
  context.stroke();
}

/** Returns a round number at or above a value. */
export function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

/** Returns the label of a tick at 0, half or all of an axis: as many decimals as half of it needs, so that no two are alike. */
export function tickText(value, top) {
  if (value === 0) return "0";
  if (top < 1e-4 || top >= 1e6) return value.toExponential(1);
  let decimals = 0;
  while (decimals < 6 && Math.abs((top / 2) * 10 ** decimals - Math.round((top / 2) * 10 ** decimals)) > 1e-6) decimals += 1;
  return value.toFixed(decimals);
}

/** Returns the plot of a canvas by its id; its legend is `legend-` and the same name. */
export function plotOf(name, lines) {
  return new Plot(element(`plot-${name}`), element(`legend-${name}`), lines);
}
