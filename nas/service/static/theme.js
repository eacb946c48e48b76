// Light or dark: the system's choice until the button is pressed. A cookie keeps it, so that the server can
// send the page in the right colours and nothing flashes.

const root = document.documentElement;

export function isDark() {
  const set = root.dataset.theme;
  return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function announce() {
  document.dispatchEvent(new CustomEvent("theme"));
}

document.getElementById("theme")?.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  document.cookie = `theme=${root.dataset.theme}; path=${root.dataset.root || "/"}; max-age=31536000; samesite=lax`;
  announce();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
