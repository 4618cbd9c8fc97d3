// Keeps the page up to date. Without this script it loads itself again now and then.
const here = document.getElementById("state");
const word = () => document.getElementById("word");
let text = null;
const spoken = word();

async function look() {
  let answer;
  try {
    answer = await fetch("/state", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = await answer.text();
    if (fresh === text || document.activeElement?.closest("#state form, #state details")) return;
    text = fresh;
    const parsed = new DOMParser().parseFromString(fresh, "text/html");
    const said = parsed.getElementById("word");
    // The element that is read aloud stays: only a change of its text is spoken.
    if (spoken.textContent !== said.textContent) spoken.textContent = said.textContent;
    spoken.className = said.className;
    said.remove();
    here.replaceChildren(spoken, ...parsed.body.childNodes);
  } catch {
    text = null;
    spoken.textContent = here.dataset.noAnswer;
  }
}

if (here) setInterval(() => { if (!document.hidden) look(); }, 3000);
