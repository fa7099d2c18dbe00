// Keep the list of a page (data-live) up to date: get the page again, and replace what has changed.
// An element that works (data-active) is looked at often. Screen readers hear data-says when it changes.
const live = document.querySelector("[data-live]");
const announcer = document.getElementById("announcer");
const sources = new Map(); // the HTML of each element as it came; the page's own may have been opened
const says = new Map();

function remember(element) {
  sources.set(element.id, element.outerHTML);
  says.set(element.id, element.dataset.says);
}

function update(fresh) {
  const kept = new Set([...fresh.children].map((element) => element.id));
  for (const element of [...live.children]) if (!kept.has(element.id)) element.remove();
  [...fresh.children].forEach((element, place) => {
    const known = document.getElementById(element.id);
    if (known && sources.get(element.id) === element.outerHTML) return;
    if (element.dataset.says !== says.get(element.id)) announcer.textContent = element.dataset.says;
    remember(element);
    if (known) known.replaceWith(element);
    else live.insertBefore(element, live.children[place] ?? null);
  });
}

async function refresh() {
  if (!document.hidden) {
    try {
      const response = await fetch(location.href);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      if (response.ok && fresh) update(fresh);
    } catch {
      announcer.textContent = "The site does not answer.";
    }
  }
  schedule();
}

function schedule() {
  setTimeout(refresh, live.querySelector("[data-active]") ? 250 : 3000);
}

if (live) {
  [...live.children].forEach(remember);
  schedule();
}
