/** Imagining, again and again while it runs: what is asked, and what comes back. */

import { element, figure, numbers, say } from "./dom.js";
import { eventsOf, open } from "./events.js";
import { Film } from "./film.js";
import { rowsOf, Sliders } from "./inputs.js";

const PAUSE_MS = 600;
const SETTLE_MS = 150;
const MOST_DRIVEN = 400;

export class Rollout {
  /** Takes what to call with the imagined path, the chosen step, and how it goes ("ok", "warn" and why). */
  constructor({ onPath, onChosen, onState }) {
    Object.assign(this, { onPath, onState });
    this.film = new Film(onChosen);
    this.isRunning = false;
    this.aborting = null;
    this.status = null;
    this.frame = null;
    this.driven = [];
    this.listen();
  }

  /** Takes what is served: sizes of latent and action, the longest horizon. */
  configure(status) {
    const isNew = !this.status || this.status.encoder_id !== status.encoder_id;
    this.status = status;
    const slider = element("horizon");
    slider.max = status.longest_rollout_steps;
    if (isNew) slider.value = Math.min(Math.round(status.horizon_s / status.step_s), status.longest_rollout_steps);
    this.tellHorizon();
    element("memory").disabled = !status.has_memory;
    if (!isNew) return;
    const changed = () => this.changed();
    for (const id of ["action-constant", "latent-sliders"]) element(id).replaceChildren();
    const actions = Array.from({ length: status.action_dim }, (_, at) => ({ label: `a${at}`, low: -1, high: 1, value: 0 }));
    this.action = new Sliders(element("action-constant"), actions, changed);
    const latents = status.latent_mean.map((mean, at) => {
      const reach = 4 * (status.latent_std[at] || 1);
      return { label: `z${at}`, low: mean - reach, high: mean + reach, value: mean };
    });
    this.latent = new Sliders(element("latent-sliders"), latents, () => {
      element("latent-paste").value = this.latent.values.map((value) => figure(value, 5)).join(", ");
      this.readLatent(false);
      changed();
    });
    element("latent-paste").value = latents.map(({ value }) => figure(value, 5)).join(", ");
    this.readLatent(false);
  }

  /** Takes a frame of what is live. */
  observe(frame) {
    this.frame = frame;
    if (!frame.action) return;
    this.driven.push(frame.action);
    if (this.driven.length > MOST_DRIVEN) this.driven.shift();
  }

  toggle() {
    if (this.isRunning) this.stop();
    else this.start();
  }

  start() {
    this.isRunning = true;
    this.show();
    if (!this.loop) this.loop = this.run().finally(() => { this.loop = null; });
  }

  stop() {
    this.isRunning = false;
    this.show();
    if (this.aborting) this.aborting.abort();
    this.onPath([]);
  }

  /** Has the next rollout begin at once with what is set now. */
  changed() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.film.cut(Number(element("horizon").value));
      if (this.aborting) this.aborting.abort();
    }, SETTLE_MS);
  }

  listen() {
    element("run").addEventListener("click", () => this.toggle());
    element("horizon").addEventListener("input", () => { this.tellHorizon(); this.changed(); });
    element("memory").addEventListener("change", () => this.changed());
    for (const id of ["from", "action-mode"]) {
      element(id).addEventListener("change", () => {
        element("latent-own").hidden = element("from").value !== "own";
        element("action-constant").hidden = element("action-mode").value !== "constant";
        element("action-sequence").hidden = element("action-mode").value !== "sequence";
        this.changed();
      });
    }
    element("latent-pose").addEventListener("change", () => this.changed());
    element("latent-paste").addEventListener("input", () => { this.readLatent(true); this.changed(); });
    element("latent-take").addEventListener("click", () => {
      if (!this.frame) return;
      element("latent-paste").value = this.frame.latent.map((value) => figure(value, 5)).join(", ");
      this.readLatent(true);
      this.changed();
    });
    element("sequence").addEventListener("input", () => { this.readSequence(); this.changed(); });
    element("sequence-take").addEventListener("click", () => {
      const rows = this.driven.slice(-Number(element("horizon").value));
      element("sequence").value = rows.map((row) => row.map((value) => figure(value, 5)).join(", ")).join("\n");
      this.readSequence();
      this.changed();
    });
  }

  readLatent(isFromText) {
    const given = numbers(element("latent-paste").value), size = this.status ? this.status.z_dim : 0;
    this.given = given !== null && given.length === size ? given : null;
    say(element("latent-text"), this.given ? "" : `expected ${size} numbers, found ${given ? given.length : "other text"}`);
    if (this.given && isFromText) this.latent.values = this.given;
  }

  readSequence() {
    const { rows, text } = rowsOf(element("sequence").value, this.status ? this.status.action_dim : 0);
    this.sequence = rows;
    say(element("sequence-text"), text);
  }

  /** Returns the body of the next request, or says what is missing. */
  body() {
    const horizon = Number(element("horizon").value);
    const body = { horizon, memory: element("memory").checked && !element("memory").disabled, images: "data" };
    if (element("from").value === "own") {
      if (!this.given) return { wrong: "the latent is not complete" };
      body.latent = this.given;
      if (element("latent-pose").checked && this.frame && this.frame.pose) {
        Object.assign(body, { pose: this.frame.pose, stamp_ns: this.frame.stamp_ns });
      }
    }
    if (!body.latent && !this.frame) return { wrong: "nothing is live yet" };
    const mode = element("action-mode").value;
    if (mode === "constant") body.action = this.action.values;
    if (mode === "sequence") {
      if (!this.sequence) return { wrong: "the sequence is not complete" };
      body.actions = this.sequence.slice(0, horizon);
    }
    return { body };
  }

  async run() {
    while (this.isRunning) {
      const { body, wrong } = this.status ? this.body() : { wrong: "nothing is served yet" };
      try {
        if (wrong) this.tell("warn", wrong);
        else await this.once(body);
      } catch (error) {
        if (error.name !== "AbortError") {
          const isAway = error instanceof TypeError;
          this.tell("warn", isAway ? "the service does not answer, or broke off" : error.message);
          await this.pause(1000);
        }
      }
      if (this.isRunning) await this.pause(PAUSE_MS);
    }
  }

  async once(body) {
    const aborting = this.aborting = new AbortController();
    const begun = performance.now();
    let first = null, path = [];
    try {
      const response = await open("/stream-rollout", {
        method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal: aborting.signal,
      });
      for await (const event of eventsOf(response)) {
        if (event.name === "error") throw new Error(event.data.field ? `${event.data.field}: ${event.data.detail}` : event.data.detail);
        if (event.name !== "step" || !this.isRunning) continue;
        if (first === null) first = performance.now() - begun;
        this.film.put(event.data);
        if (event.data.pose) path.push(event.data.pose);
      }
      this.film.cut(body.horizon);
      this.onPath(path);
      this.tell("ok", `${body.horizon} steps, first after ${figure(first, 2)} ms, all after ${figure(performance.now() - begun, 2)} ms`);
    } finally {
      if (this.aborting === aborting) this.aborting = null;
    }
  }

  pause(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  tell(level, text) {
    say(element("rollout-text"), text);
    this.onState(level, text);
  }

  tellHorizon() {
    const steps = Number(element("horizon").value), step = this.status ? this.status.step_s : 0;
    say(element("horizon-text"), `${steps} steps${step ? `, ${(steps * step).toFixed(2)} s` : ""}`);
  }

  show() {
    const button = element("run");
    say(button, this.isRunning ? "stop" : "start");
    button.setAttribute("aria-pressed", String(this.isRunning));
    if (!this.isRunning) this.tell("ok", "stopped");
  }
}
