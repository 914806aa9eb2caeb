/** Small helpers of the page. */

/** Returns the element of an id. */
export const element = (id) => document.getElementById(id);

/** Returns a new element with attributes and children; text is never taken for markup. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Writes a text only where it changed: layout is not done again for nothing. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Returns a number in few characters; a dash for none. */
export function figure(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(1);
  return value.toFixed(Math.max(0, Math.min(digits, digits - 1 - Math.floor(Math.log10(size || 1)))));
}

/** Returns the numbers of a text: separated by commas, blanks or lines, in brackets or not; null where it holds others. */
export function numbers(text) {
  const words = text.replace(/[[\]()]/g, " ").split(/[\s,;]+/).filter((word) => word !== "");
  const values = words.map(Number);
  return values.every(Number.isFinite) ? values : null;
}

/** Returns a colour of the present theme. */
export function colours(names) {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Makes a canvas as sharp as the screen and returns its context and its size in CSS pixels. */
export function sharpened(canvas) {
  const width = canvas.clientWidth, height = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
  const wide = Math.round(width * ratio), high = Math.round(height * ratio);
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Returns a function that has a drawing done once before the next picture of the screen, however often it is asked. */
export function onceAFrame(draw) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      draw();
    });
  };
}
