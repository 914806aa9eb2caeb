/** Server-sent events over fetch: unlike EventSource it tells refusals, posts bodies, and shows that pings come. */

/** Returns what JSON says, ids of memories as text: they have up to 63 bits, numbers here 53. */
export function withIds(text) {
  return JSON.parse(text
    .replace(/"memory_ids":\[([\d,]+)\]/g, (_, ids) => `"memory_ids":["${ids.replaceAll(",", '","')}"]`)
    .replace(/"id":(\d+)/g, '"id":"$1"'));
}

/** Someone has to hand in the token first. */
export class LockedError extends Error {}

/** The service refused; its own words. */
export class RefusedError extends Error {}

/** Opens a stream or throws: LockedError, RefusedError, or TypeError where nobody answers. */
export async function open(url, options) {
  const response = await fetch(url, { cache: "no-store", ...options });
  if (response.ok) return response;
  if (response.status === 401) throw new LockedError("the service wants its token");
  const said = await response.json().catch(() => ({}));
  throw new RefusedError(said.field ? `${said.field}: ${said.detail}` : said.detail || `status ${response.status}`);
}

/** Yields the events of a response: {name, id, data}, data parsed; comments as {name: "ping"}. */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      held += value;
      for (let end = held.indexOf("\n\n"); end >= 0; end = held.indexOf("\n\n")) {
        const event = parsed(held.slice(0, end));
        held = held.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  let name = "message", id = null, data = "", isComment = false;
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "") isComment = true;
    else if (field === "event") name = value;
    else if (field === "id") id = value;
    else if (field === "data") data += (data ? "\n" : "") + value;
  }
  if (data) return { name, id, data: withIds(data) };
  return isComment ? { name: "ping", id, data: null } : null;
}
