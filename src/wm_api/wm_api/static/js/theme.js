/** Dark or light: as the system says, until somebody says otherwise. */

const KEY = "wm-theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Puts the theme in force; calls back when it changes. */
export function applyTheme(onChange) {
  const set = () => {
    document.documentElement.dataset.theme = chosen() || (system.matches ? "dark" : "light");
    onChange();
  };
  system.addEventListener("change", set);
  set();
  return () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // A browser that keeps nothing: until the page is closed.
    }
    document.documentElement.dataset.theme = next;
    onChange();
  };
}
