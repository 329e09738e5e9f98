// Asks a view twice, by GET.
import { busy, eventsOf, isStream, show } from "./doors.js";

async function* read(response) {
  if (isStream(response)) {
    for await (const data of eventsOf(response)) yield JSON.parse(data);
    return;
  }
  const body = await response.json();
  yield body.answer || body.error;
}

document.getElementById("views").addEventListener("submit", (event) => {
  event.preventDefault();
  const button = event.submitter;
  const url = `${button.formAction}?${new URLSearchParams(new FormData(event.target))}`;
  const control = button.dataset.control;
  const ask = () => fetch(url, control ? { headers: { "Cache-Control": control } } : {});
  busy(event.target, async () => {
    for (let time = 0; time < 2; time += 1) await show(button.dataset.name, ask, read);
  });
});
