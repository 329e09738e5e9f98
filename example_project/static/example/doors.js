// What the pages of the doors share: a request's answer and the headers that say where it came from.

const SHOWN = ["X-LLMCache-Outcome", "Age", "Cache-Status", "Cache-Control", "Vary"];
const list = document.getElementById("requests");

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function headersOf(response) {
  const table = element("dl", "", "");
  for (const name of SHOWN) {
    const value = response.headers.get(name);
    if (value !== null) table.append(element("dt", "", name), element("dd", "", value));
  }
  return table;
}

// Gives the data of each server-sent event as it arrives.
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) if (event.startsWith("data: ")) yield event.slice(6);
  }
}

export function isStream(response) {
  return (response.headers.get("Content-Type") || "").startsWith("text/event-stream");
}

// Makes a request, and adds its answer to the list; `read` gives the answer's texts one by one.
export async function show(name, request, read) {
  document.getElementById("empty").hidden = true;
  const item = element("li", "", "");
  const answer = element("p", "answer", "");
  const facts = element("p", "facts", "");
  item.append(facts, answer);
  list.append(item);
  const started = performance.now();
  try {
    const response = await request();
    for await (const text of read(response)) answer.textContent += text;
    const outcome = response.headers.get("X-LLMCache-Outcome") || String(response.status);
    facts.append(element("span", `outcome ${outcome === "hit" ? "hit" : "miss"}`, outcome));
    if (!response.ok) answer.classList.add("error");
    item.append(headersOf(response));
  } catch (error) {
    answer.classList.add("error");
    answer.textContent = String(error);
  }
  const milliseconds = (performance.now() - started).toFixed(1);
  facts.append(element("span", "", name), element("span", "", `${milliseconds} ms`));
  item.scrollIntoView({ block: "end" });
}

// Runs a step while no button can be pressed.
export async function busy(form, step) {
  const buttons = form.querySelectorAll("button");
  for (const each of buttons) each.disabled = true;
  await step();
  for (const each of buttons) each.disabled = false;
}
