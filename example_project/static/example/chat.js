// Streams the answers. Without this script the forms are posted and the page comes back whole.
"use strict";

const form = document.getElementById("ask");
const input = document.getElementById("question");
const list = document.getElementById("said");
const empty = document.getElementById("empty");

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function facts(cache) {
  const line = element("p", "facts", "");
  line.append(element("span", `outcome ${cache.hit ? "hit" : "miss"}`, cache.outcome));
  line.append(element("span", "", `${cache.milliseconds} ms`));
  if (cache.hit) {
    const money = cache.saved_cost ? `, ${cache.saved_cost}` : "";
    line.append(element("span", "", `${cache.age} s old`));
    line.append(
      element("span", "", `saved ${cache.saved_tokens} tokens, ${cache.saved_milliseconds} ms${money}`),
    );
  } else if (cache.reason) {
    line.append(element("span", "", cache.reason));
  }
  return line;
}

function show(item, answer, event) {
  if (event.text) {
    answer.textContent += event.text;
  } else if (event.error) {
    answer.classList.add("error");
    answer.textContent += event.error;
  } else if (event.cache) {
    item.append(facts(event.cache));
  }
  item.scrollIntoView({ block: "end" });
}

async function read(response, item, answer) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) show(item, answer, JSON.parse(line));
  }
}

async function ask(question) {
  const item = element("li", "", "");
  const answer = element("p", "answer", "");
  item.append(element("p", "question", question), answer);
  list.append(item);
  empty.hidden = true;
  const body = new FormData(form);
  body.set("question", question);
  try {
    const response = await fetch(form.dataset.stream, { method: "POST", body });
    if (response.ok) {
      await read(response, item, answer);
    } else {
      const isJson = response.headers.get("Content-Type") === "application/json";
      const told = isJson ? (await response.json()).error : `The site answered ${response.status}.`;
      show(item, answer, { error: told });
    }
  } catch (error) {
    show(item, answer, { error: `The site cannot be reached: ${error.message}` });
  }
  item.scrollIntoView({ block: "end" });
}

async function submitted(event) {
  if (event.submitter?.hasAttribute("formaction")) return;
  event.preventDefault();
  const question = (event.submitter?.value || input.value).trim();
  if (!question) return;
  const buttons = document.querySelectorAll("button");
  buttons.forEach((button) => (button.disabled = true));
  input.value = "";
  await ask(question);
  buttons.forEach((button) => (button.disabled = false));
  input.focus();
}

form.addEventListener("submit", submitted);
document.getElementById("suggestions").addEventListener("submit", submitted);
