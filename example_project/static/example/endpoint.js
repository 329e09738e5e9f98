// Makes a key, and asks the endpoint with it twice.
import { busy, eventsOf, isStream, show } from "./doors.js";

const key = document.getElementById("key");

document.getElementById("keys").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  busy(form, async () => {
    const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
    key.value = (await response.json()).token || "";
  });
});

async function* read(response) {
  if (!isStream(response)) {
    const body = await response.json();
    yield body.error ? body.error.message : body.choices[0].message.content;
    return;
  }
  for await (const data of eventsOf(response)) {
    if (data === "[DONE]") return;
    for (const choice of JSON.parse(data).choices) yield choice.delta.content || "";
  }
}

document.getElementById("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const { action, dataset } = event.target;
  const button = event.submitter;
  const question = new FormData(event.target).get("q");
  const body = JSON.stringify({
    model: dataset.model,
    messages: [{ role: "user", content: question }],
    temperature: 0,
    max_tokens: 300,
    stream: button.dataset.stream === "1",
  });
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${key.value}` };
  const ask = () => fetch(action, { method: "POST", headers, body });
  busy(event.target, async () => {
    for (let time = 0; time < 2; time += 1) await show(button.dataset.name, ask, read);
  });
});
