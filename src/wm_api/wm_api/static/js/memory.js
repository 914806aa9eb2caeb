/** What the page knows of the memory: its cells, how it is doing, and where the memories used last lie. */

import { withIds } from "./events.js";

const MOST_KNOWN = 3000;
const EVERY_MS = 3000;
const LOOK_UP_MS = 500;
const AT_ONCE = 8;
const REST_MS = 5000;

export class MemoryView {
  /** Takes whom to tell: onCells(cells), onStats(stats or null, why), onHits(places), and isAway(): nobody would answer. */
  constructor(handlers) {
    this.handlers = handlers;
    this.forget();
    this.isServed = false;
    this.ids = [];
    setInterval(() => this.refresh(), EVERY_MS);
    setInterval(() => this.lookUp(), LOOK_UP_MS);
  }

  /** Says whether a memory is served, and begins anew. */
  configure(isServed) {
    this.isServed = isServed;
    this.restsUntil = 0;
    this.forget();
    this.refresh();
  }

  forget() {
    this.known = new Map();
    this.count = -1;
  }

  /** Takes the ids of the memories used last. */
  used(ids) {
    this.ids = ids;
  }

  async refresh() {
    if (this.isResting || this.isBusy) return;
    this.isBusy = true;
    try {
      const stats = await this.get("/memory/stats");
      this.handlers.onStats(stats, "");
      if (stats.memory_count !== this.count) {
        const { cells } = await this.get("/memory/cells?most=3000");
        this.count = stats.memory_count;
        this.handlers.onCells(cells);
      }
    } catch (error) {
      this.handlers.onStats(null, error instanceof TypeError ? "the service does not answer" : error.message);
      this.rest();
    } finally {
      this.isBusy = false;
    }
  }

  async lookUp() {
    if (this.isResting || this.isLooking) return;
    this.isLooking = true;
    try {
      const ids = this.ids.slice(0, AT_ONCE), unknown = ids.filter((id) => !this.known.has(id));
      if (unknown.length) await this.fetchPlaces(unknown);
      while (this.known.size > MOST_KNOWN) this.known.delete(this.known.keys().next().value);
      this.handlers.onHits(ids.map((id) => this.known.get(id)).filter(Boolean));
    } catch {
      this.rest(); // The connection, or the memory's own line, says that it is away.
    } finally {
      this.isLooking = false;
    }
  }

  async fetchPlaces(ids) {
    const { places } = await this.get(`/memory/places?ids=${ids.join(",")}`);
    const found = new Map(places.map(({ id, x, y }) => [id, { x, y }]));
    for (const id of ids) this.known.set(id, found.get(id) || null);
  }

  /** Asks nothing for a while: who is away is not there again at once. */
  rest() {
    this.restsUntil = performance.now() + REST_MS;
  }

  get isResting() {
    return !this.isServed || document.hidden || this.handlers.isAway() || performance.now() < (this.restsUntil || 0);
  }

  async get(url) {
    const response = await fetch(url);
    if (response.ok) return withIds(await response.text());
    throw new Error(`the memory answers with status ${response.status}`);
  }
}
