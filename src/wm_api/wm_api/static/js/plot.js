/** Lines over time on a canvas: the last minute, in rings of fixed size. */

import { colours, element, figure, make, onceAFrame, sharpened } from "./dom.js";

const SAMPLES = 1500;
const LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 20;

export class Plot {
  /** Takes a canvas, the place of its legend, lines as {label, colour (of the theme), unit, dash}, and seconds shown. */
  constructor(canvas, legend, lines, seconds = 60) {
    this.canvas = canvas;
    this.lines = lines;
    this.seconds = seconds;
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
    const top = niceTop(this.largest(first));
    const x = (time) => LEFT + (width - LEFT - RIGHT) * (1 - (newest - time) / this.seconds);
    const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - Math.min(value, top) / top);
    this.paintAxes(context, theme, width, height, top, y);
    this.lines.forEach((line, at) => {
      context.strokeStyle = theme[line.colour];
      context.lineWidth = line.dash ? 1.5 : 2;
      context.setLineDash(line.dash || []);
      context.beginPath();
      let isDown = false;
      for (let index = first; index < this.count; index += 1) {
        const value = this.values[at][index % SAMPLES];
        if (Number.isNaN(value)) isDown = false;
        else {
          context[isDown ? "lineTo" : "moveTo"](x(this.time(index)), y(value));
          isDown = true;
        }
      }
      context.stroke();
    });
    context.setLineDash([]);
  }

  firstShown(newest) {
    let first = Math.max(0, this.count - SAMPLES + 1);
    while (first < this.count - 1 && this.time(first) < newest - this.seconds) first += 1;
    return first;
  }

  largest(first) {
    let most = 0;
    for (const ring of this.values) {
      for (let index = first; index < this.count; index += 1) {
        const value = ring[index % SAMPLES];
        if (value > most) most = value;
      }
    }
    return most;
  }

  paintAxes(context, theme, width, height, top, y) {
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = theme.quiet;
    context.strokeStyle = theme.grid;
    context.lineWidth = 1;
    for (let tick = 0; tick <= 4; tick += 1) {
      const value = (top * tick) / 4, at = Math.round(y(value)) + 0.5;
      context.beginPath();
      context.moveTo(LEFT, at);
      context.lineTo(width - RIGHT, at);
      context.stroke();
      context.textAlign = "right";
      if (tick % 2 === 0) context.fillText(figure(value, 2), LEFT - 6, at + 4);
    }
    context.textAlign = "left";
    context.fillText(`−${this.seconds} s`, LEFT, height - 5);
    context.textAlign = "right";
    context.fillText("now", width - RIGHT, height - 5);
  }
}

/** Returns a round number at or above a value. */
export function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

/** Returns the plot of a canvas by its id; its legend is `legend-` and the same name. */
export function plotOf(name, lines) {
  return new Plot(element(`plot-${name}`), element(`legend-${name}`), lines);
}
