/** The film strip: one cell a step, used again for each rollout. */

import { element, figure, make, say } from "./dom.js";

export class Film {
  /** Takes whom to tell which step is chosen. */
  constructor(onChosen) {
    this.list = element("film");
    this.cells = [];
    this.steps = [];
    this.chosen = null;
    this.onChosen = onChosen;
    this.list.addEventListener("keydown", (event) => {
      const sign = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!sign || !this.steps.length) return;
      event.preventDefault();
      this.choose(Math.max(1, Math.min((this.chosen || 0) + sign, this.steps.length)));
    });
  }

  /** Shows one step as the service says it. */
  put(step) {
    const { cell, image, none, time, kind, gate } = this.cell(step.step);
    this.steps[step.step - 1] = step;
    cell.hidden = false;
    image.hidden = !step.frame;
    none.hidden = Boolean(step.frame);
    if (step.frame) image.src = `data:image/jpeg;base64,${step.frame}`;
    image.alt = `${step.frame_source || ""} picture ${figure(step.horizon_s)} s ahead`;
    say(time, `+${step.horizon_s.toFixed(2)} s`);
    say(kind, step.frame_source === "remembered" ? "seen" : "");
    gate.style.width = `${Math.round(step.gate * 100)}%`;
    cell.title = `memories have ${Math.round(step.gate * 100)} % of the say`;
    if (step.step === this.chosen) this.tell();
  }

  /** Hides what lies beyond a horizon. */
  cut(count) {
    this.cells.forEach(({ cell }, at) => { cell.hidden = at >= count || !this.steps[at]; });
    this.steps.length = Math.min(this.steps.length, count);
    if (this.chosen > count) this.choose(null);
  }

  choose(step) {
    this.chosen = step;
    this.cells.forEach(({ cell }, at) => cell.setAttribute("aria-current", String(at + 1 === step)));
    if (step) this.cells[step - 1].cell.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.tell();
  }

  tell() {
    const step = this.chosen && this.steps[this.chosen - 1];
    this.onChosen(step || null);
    if (!step) {
      say(element("step-text"), "");
      return;
    }
    const { pose, pose_std: std } = step;
    const place = pose ? `expected at ${figure(pose.x)}, ${figure(pose.y)} m, ${figure((pose.yaw * 180) / Math.PI)}°` : "no pose";
    const sure = std ? ` (± ${figure(Math.max(std[0], std[1]))} m)` : "";
    const visit = step.revisit ? "a revisit" : "a first visit";
    const used = step.memory_ids.length ? `memories ${step.memory_ids.slice(0, 6).join(", ")}; ${visit}` : "no memories";
    say(element("step-text"), `step ${step.step}, ${figure(step.horizon_s)} s ahead: ${place}${sure}; gate ${figure(step.gate)}; ${used}`);
  }

  cell(step) {
    while (this.cells.length < step) {
      const number = this.cells.length + 1;
      const image = make("img", { alt: "" }), none = make("p", { class: "none" }, "no picture");
      const time = make("span"), kind = make("span", { class: "quiet" }), gate = make("b");
      const cell = make("li", {}, image, none, make("div", { class: "gate" }, gate), make("div", { class: "time" }, time, kind));
      cell.addEventListener("click", () => this.choose(this.chosen === number ? null : number));
      this.list.append(cell);
      this.cells.push({ cell, image, none, time, kind, gate });
    }
    return this.cells[step - 1];
  }
}
