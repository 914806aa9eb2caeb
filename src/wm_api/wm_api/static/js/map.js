/** The map: where the robot was and how well it was foreseen, what it remembers, where it is expected to be. */

import { colours, element, figure, onceAFrame, say, sharpened } from "./dom.js";

const MOST_TRAIL = 6000;
const LEAST_M = 0.02;
/** Between places further apart the robot was not seen. */
const GAP_M = 2;
const RAMP = ["ramp-0", "ramp-1", "ramp-2", "ramp-3"];
const THEME = ["text", "quiet", "grid", "cell", "hit", "expected", "path", "good", "panel", ...RAMP];
/** Errors at which the next colour of the trail begins: NMSE, 1 is no better than the mean. */
const LIMITS = [0.2, 0.6, 1.2];

export class MapView {
  /** Takes whom to tell of a goal that was clicked. */
  constructor(onGoal) {
    this.canvas = element("map");
    this.onGoal = onGoal;
    this.view = { x: 0, y: 0, scale: 40 };
    this.isFollowing = true;
    this.isSettingGoal = false;
    Object.assign(this, { cells: [], hits: [], path: [], planned: [], route: [], pose: null, expected: null, goal: null, chosen: null });
    this.forget();
    this.draw = onceAFrame(() => this.paint());
    new ResizeObserver(this.draw).observe(this.canvas);
    this.listen();
    say(element("ramp-text"), `${LIMITS.join(" · ")} and above`);
  }

  /** Forgets the trail: time began anew. */
  forget() {
    this.trail = [];
    this.draw && this.draw();
  }

  /** Takes where the robot is, in which frame, the error of what was foreseen for now, and where it had been expected. */
  observe(pose, frame, error, expected) {
    this.pose = pose;
    this.frame = frame;
    this.expected = expected;
    if (pose) {
      const last = this.trail[this.trail.length - 1];
      if (!last || Math.hypot(last.x - pose.x, last.y - pose.y) > LEAST_M) {
        this.trail.push({ x: pose.x, y: pose.y, level: error === null ? -1 : LIMITS.filter((limit) => error >= limit).length });
        if (this.trail.length > MOST_TRAIL) this.trail.splice(0, this.trail.length - MOST_TRAIL);
      }
      if (this.isFollowing) Object.assign(this.view, { x: pose.x, y: pose.y });
    }
    this.draw();
  }

  /** Takes fields to show: cells, hits, path, planned, route, goal, chosen. */
  set(fields) {
    Object.assign(this, fields);
    this.draw();
  }

  follow(isFollowing) {
    this.isFollowing = isFollowing;
    element("map-follow").checked = isFollowing;
    if (isFollowing && this.pose) Object.assign(this.view, { x: this.pose.x, y: this.pose.y });
    this.draw();
  }

  fit() {
    const points = [...this.trail, ...this.cells.flatMap((cell) => cell.outline.map(([x, y]) => ({ x, y })))];
    if (!points.length) return;
    this.follow(false);
    const bounds = points.reduce((box, { x, y }) => [Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x), Math.max(box[3], y)],
      [Infinity, Infinity, -Infinity, -Infinity]);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.view.x = (bounds[0] + bounds[2]) / 2;
    this.view.y = (bounds[1] + bounds[3]) / 2;
    this.view.scale = 0.9 * Math.min(width / Math.max(bounds[2] - bounds[0], 0.5), height / Math.max(bounds[3] - bounds[1], 0.5));
    this.draw();
  }

  zoom(factor) {
    this.view.scale = Math.max(0.05, Math.min(this.view.scale * factor, 5000));
    this.draw();
  }

  startGoal(isSetting) {
    this.isSettingGoal = isSetting;
    this.canvas.dataset.goal = String(isSetting);
    element("goal").setAttribute("aria-pressed", String(isSetting));
    this.draw();
  }

  listen() {
    const canvas = this.canvas;
    element("map-follow").addEventListener("change", (event) => this.follow(event.target.checked));
    element("map-fit").addEventListener("click", () => this.fit());
    element("map-in").addEventListener("click", () => this.zoom(1.4));
    element("map-out").addEventListener("click", () => this.zoom(1 / 1.4));
    element("goal").addEventListener("click", () => this.startGoal(!this.isSettingGoal));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (this.isSettingGoal) {
        this.clicked(event.offsetX, event.offsetY);
        return;
      }
      canvas.setPointerCapture(event.pointerId);
      this.held = { x: event.clientX, y: event.clientY };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.held) return;
      const moved = Math.hypot(event.clientX - this.held.x, event.clientY - this.held.y);
      if (moved < 1) return;
      this.pan((this.held.x - event.clientX) / this.view.scale, (event.clientY - this.held.y) / this.view.scale);
      this.held = { x: event.clientX, y: event.clientY };
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.held = null; });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  clicked(screenX, screenY) {
    const goal = {
      x: this.view.x + (screenX - this.canvas.clientWidth / 2) / this.view.scale,
      y: this.view.y - (screenY - this.canvas.clientHeight / 2) / this.view.scale,
    };
    this.startGoal(false);
    this.set({ goal });
    this.onGoal(goal);
  }

  key(event) {
    const step = 60 / this.view.scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.4);
    else if (event.key === "-") this.zoom(1 / 1.4);
    else if (event.key === "0") this.fit();
    else if (event.key === "Enter" && this.isSettingGoal) this.clicked(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
    else return;
    event.preventDefault();
  }

  pan(x, y) {
    this.follow(false);
    this.view.x += x;
    this.view.y += y;
    this.draw();
  }

  paint() {
    const { context, width, height } = sharpened(this.canvas);
    if (width < 10) return;
    const theme = colours(THEME), { x, y, scale } = this.view;
    const at = (point) => [width / 2 + (point.x - x) * scale, height / 2 - (point.y - y) * scale];
    const step = this.paintGrid(context, theme, width, height);
    this.paintCells(context, theme, at);
    this.paintTrail(context, theme, at);
    if (this.planned.length) {
      polyline(context, this.route.map(at), theme.quiet, 2, [7, 5]);
      polyline(context, this.planned.map(at), theme.good, 3, []);
    }
    polyline(context, this.path.map(at), theme.path, 3, [2, 5]);
    for (const hit of this.hits) ring(context, at(hit), 6, theme.hit, 3);
    if (this.expected) arrow(context, at(this.expected), this.expected.yaw, theme.expected, [4, 3]);
    if (this.chosen) ring(context, at(this.chosen), 8, theme.path, 3);
    if (this.pose) arrow(context, at(this.pose), this.pose.yaw, theme.text, []);
    if (this.goal) cross(context, at(this.goal), theme.expected);
    // Where Enter sets one.
    if (this.isSettingGoal) cross(context, [width / 2, height / 2], theme.quiet);
    this.paintScale(context, theme, step, height);
    const place = this.pose ? `robot at ${figure(this.pose.x)}, ${figure(this.pose.y)} m${this.frame ? ` in ${this.frame}` : ""}` : "no pose";
    say(element("map-text"), `${place}; ${this.cells.length} cells${this.hits.length ? `; ${this.hits.length} memories used` : ""}`);
  }

  paintGrid(context, theme, width, height) {
    const { x, y, scale } = this.view;
    const wanted = 70 / scale, power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= wanted);
    context.strokeStyle = theme.grid;
    context.lineWidth = 1;
    context.beginPath();
    for (let line = Math.ceil((x - width / 2 / scale) / step) * step; line < x + width / 2 / scale; line += step) {
      const at = Math.round(width / 2 + (line - x) * scale) + 0.5;
      context.moveTo(at, 0);
      context.lineTo(at, height);
    }
    for (let line = Math.ceil((y - height / 2 / scale) / step) * step; line < y + height / 2 / scale; line += step) {
      const at = Math.round(height / 2 - (line - y) * scale) + 0.5;
      context.moveTo(0, at);
      context.lineTo(width, at);
    }
    context.stroke();
    return step;
  }

  /** Says how long a side of the grid is; over all else, as it must be readable. */
  paintScale(context, theme, step, height) {
    const long = step * this.view.scale;
    context.fillStyle = theme.panel;
    context.fillRect(5, height - 31, long + 10, 27);
    context.fillStyle = context.strokeStyle = theme.text;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(10, height - 10);
    context.lineTo(10 + long, height - 10);
    context.stroke();
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText(`${figure(step)} m`, 12, height - 15);
  }

  paintCells(context, theme, at) {
    const most = this.cells.reduce((count, cell) => Math.max(count, cell.count), 1);
    context.fillStyle = theme.cell;
    for (const { outline, count } of this.cells) {
      context.globalAlpha = 0.3 + 0.5 * Math.sqrt(count / most);
      context.beginPath();
      outline.forEach(([x, y], corner) => context[corner ? "lineTo" : "moveTo"](...at({ x, y })));
      context.fill();
    }
    context.globalAlpha = 1;
  }

  paintTrail(context, theme, at) {
    context.lineWidth = 3;
    context.lineCap = context.lineJoin = "round";
    let level = null;
    for (let index = 1; index < this.trail.length; index += 1) {
      const before = this.trail[index - 1], point = this.trail[index];
      const isGap = Math.hypot(point.x - before.x, point.y - before.y) > GAP_M;
      if (level !== null && (isGap || point.level !== level)) {
        context.stroke();
        level = null;
      }
      if (isGap) continue;
      if (level === null) {
        level = point.level;
        context.strokeStyle = level < 0 ? theme.quiet : theme[RAMP[level]];
        context.beginPath();
        context.moveTo(...at(before));
      }
      context.lineTo(...at(point));
    }
    if (level !== null) context.stroke();
  }
}

function polyline(context, points, colour, width, dash) {
  if (!points.length) return;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.beginPath();
  points.forEach((point, index) => context[index ? "lineTo" : "moveTo"](...point));
  context.stroke();
  context.setLineDash([]);
}

function ring(context, [x, y], radius, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}

function arrow(context, [x, y], yaw, colour, dash) {
  context.save();
  context.translate(x, y);
  context.rotate(-yaw);
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = 2.5;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(13, 0);
  context.lineTo(-8, 7);
  context.lineTo(-4, 0);
  context.lineTo(-8, -7);
  context.closePath();
  if (!dash.length) context.fill();
  context.stroke();
  context.restore();
}

function cross(context, [x, y], colour) {
  context.strokeStyle = colour;
  context.lineWidth = 3;
  context.beginPath();
  context.moveTo(x - 8, y - 8);
  context.lineTo(x + 8, y + 8);
  context.moveTo(x + 8, y - 8);
  context.lineTo(x - 8, y + 8);
  context.stroke();
}
