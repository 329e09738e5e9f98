// The chat page with script: the answer appears as it is made, and what was saved adds up.
"use strict";

const form = document.getElementById("ask");
const question = document.getElementById("id_question");
const send = document.getElementById("send");
const log = document.getElementById("log");
const status = document.getElementById("status");
const totals = { answers: 0, hits: 0, time: 0, tokens: 0 };

function part(turn, name) {
  return turn.querySelector(`[data-part="${name}"]`);
}

function seconds(value) {
  if (value < 0.01) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  return `${value.toFixed(1)} s`;
}

function addTurn(text) {
  const turn = document.getElementById("turn").content.firstElementChild.cloneNode(true);
  part(turn, "question").textContent = text;
  part(turn, "again").addEventListener("click", () => ask(text));
  document.getElementById("empty").hidden = true;
  log.append(turn);
  turn.scrollIntoView({ block: "nearest" });
  return turn;
}

function addFact(list, name, value) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const detail = document.createElement("dd");
  term.textContent = name;
  detail.textContent = value;
  row.append(term, detail);
  list.append(row);
}

function showFacts(turn, facts) {
  const badge = part(turn, "badge");
  badge.textContent = facts.outcome;
  badge.classList.add(facts.outcome);
  const list = part(turn, "facts");
  addFact(list, "Took", seconds(facts.latency));
  if (facts.hit) {
    addFact(list, "Age", seconds(facts.age));
    addFact(list, "Saved", `${facts.saved_tokens} tokens`);
    if (facts.saved_cost !== null) addFact(list, "Worth", facts.saved_cost.toPrecision(2));
  } else {
    addFact(list, "Spent", `${facts.tokens} tokens`);
  }
  turn.querySelector("footer").hidden = false;
  if (facts.cut) showNote(turn, "Cut off at the length limit, so it was not stored.");
}

function showNote(turn, text) {
  const note = part(turn, "note");
  note.textContent = text;
  note.hidden = false;
}

function addUp(facts) {
  totals.answers += 1;
  totals.hits += facts.hit ? 1 : 0;
  totals.time += facts.hit ? Math.max(0, facts.upstream_latency - facts.latency) : 0;
  totals.tokens += facts.saved_tokens;
  document.getElementById("total-answers").textContent = totals.answers;
  document.getElementById("total-hits").textContent = totals.hits;
  document.getElementById("total-time").textContent = seconds(totals.time);
  document.getElementById("total-tokens").textContent = totals.tokens;
  document.getElementById("totals").hidden = false;
}

function fail(turn, text) {
  part(turn, "text").textContent = text;
  turn.querySelector(".answer").classList.add("failed");
  status.textContent = text;
}

function take(turn, message) {
  if (message.error) {
    fail(turn, message.error);
  } else if (message.text) {
    part(turn, "text").textContent += message.text;
  } else if (message.facts) {
    showFacts(turn, message.facts);
    addUp(message.facts);
    status.textContent = `${message.facts.outcome}: ${part(turn, "text").textContent}`;
  }
  turn.scrollIntoView({ block: "end" });
}

async function readLines(body, each) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach((line) => each(JSON.parse(line)));
  }
}

async function ask(text) {
  const data = new FormData(form);
  data.set("question", text);
  const turn = addTurn(text);
  send.disabled = true;
  try {
    const response = await fetch(form.dataset.stream, { method: "POST", body: data });
    if (!response.ok) throw new Error(`The server answered with status ${response.status}.`);
    await readLines(response.body, (message) => take(turn, message));
  } catch (error) {
    fail(turn, error.message);
  } finally {
    turn.querySelector(".answer").setAttribute("aria-busy", "false");
    send.disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (send.disabled) return;
  const suggested = event.submitter && event.submitter.name === "suggestion";
  const text = (suggested ? event.submitter.value : question.value).trim();
  if (!text) return;
  if (!suggested) question.value = "";
  ask(text);
});

question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit(send);
  }
});
