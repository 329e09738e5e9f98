// Asks a view twice and shows the headers that say where each answer came from.
"use strict";

const SHOWN = ["X-LLMCache-Outcome", "Age", "Cache-Status", "Cache-Control", "Vary"];
const form = document.getElementById("views");
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

// The text of the events that have arrived whole, and what is left of the next one.
function textOf(received) {
  const events = received.split("\n\n");
  const rest = events.pop();
  const pieces = events.filter((event) => event.startsWith("data: "));
  return [pieces.map((event) => JSON.parse(event.slice(6))).join(""), rest];
}

async function read(response, answer) {
  if (!(response.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
    const body = await response.json();
    answer.textContent = body.answer || body.error;
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    let text;
    [text, rest] = textOf(rest + value);
    answer.textContent += text;
  }
}

async function ask(button, url) {
  const item = element("li", "", "");
  const answer = element("p", "answer", "");
  const facts = element("p", "facts", "");
  item.append(facts, answer);
  list.append(item);
  const started = performance.now();
  const control = button.dataset.control;
  try {
    const response = await fetch(url, control ? { headers: { "Cache-Control": control } } : {});
    await read(response, answer);
    const outcome = response.headers.get("X-LLMCache-Outcome") || String(response.status);
    const kind = outcome === "hit" ? "hit" : "miss";
    facts.append(element("span", `outcome ${kind}`, outcome));
    item.append(headersOf(response));
  } catch (error) {
    answer.classList.add("error");
    answer.textContent = String(error);
  }
  const milliseconds = (performance.now() - started).toFixed(1);
  facts.append(element("span", "", button.dataset.name), element("span", "", `${milliseconds} ms`));
  item.scrollIntoView({ block: "end" });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  const url = `${button.formAction}?${new URLSearchParams(new FormData(form))}`;
  document.getElementById("empty").hidden = true;
  for (const each of form.querySelectorAll("button")) each.disabled = true;
  await ask(button, url);
  await ask(button, url);
  for (const each of form.querySelectorAll("button")) each.disabled = false;
});
