// The map page: its list and filter are plain HTML and work without this. This draws the map beside them, and follows
// the filter without loading the page again.

const target = document.getElementById("map");
const form = document.getElementById("filter");
const results = document.getElementById("results");
const wait = document.getElementById("map-wait");

let map = null;

start();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  show(query(), true);
});
form.addEventListener("change", () => form.requestSubmit());
globalThis.addEventListener("popstate", () => globalThis.location.reload());

async function start() {
  const survey = surveyOf(globalThis.location.search); // on its way while the map is
  survey.catch(() => {}); // reported where it is awaited
  try {
    const { SurveyMap } = await import("./survey-map.js");
    map = await SurveyMap.open(target);
    wait.remove();
    map.show(await survey);
    map.heat(form.elements.heat.checked);
  } catch (error) {
    console.warn("no map:", error);
    wait.textContent = JSON.parse(target.dataset.texts).noMap;
  }
}

async function surveyOf(search) {
  const answer = await fetch(target.dataset.geojson + search);
  if (!answer.ok) throw new Error(`the map's answer is ${answer.status}`);
  return answer.json();
}

function query() {
  const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  return wanted.size ? `?${wanted}` : "";
}

async function show(search, remember) {
  results.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(globalThis.location.pathname + search);
    if (!answer.ok || answer.redirected) throw new Error(`answered ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    results.replaceChildren(...page.getElementById("results").children);
    if (remember) history.pushState(null, "", globalThis.location.pathname + search + globalThis.location.hash);
    map?.heat(form.elements.heat.checked);
    map?.show(await surveyOf(search));
  } catch {
    globalThis.location.assign(globalThis.location.pathname + search); // the server says best what is wrong
  } finally {
    results.removeAttribute("aria-busy");
  }
}
