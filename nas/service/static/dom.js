// Elements without markup in strings: text from the server can never become HTML.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** What stands before every path of the service, where a proxy shows it below a path of its own. */
export const root = document.documentElement.dataset.root ?? "";

export const byId = (id) => document.getElementById(id);

export async function getJson(url, options = {}) {
  const answer = await fetch(url, { headers: { accept: "application/json" }, ...options });
  if (answer.status === 401) location.reload(); // the sign-in is over: the server shows the form
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer.json();
}

/** Wrap an asynchronous function: one call at a time, and one more when asked meanwhile. */
export function latest(work) {
  let busy = false;
  let again = false;
  return async function run() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      do {
        again = false;
        await work();
      } while (again);
    } finally {
      busy = false;
    }
  };
}
