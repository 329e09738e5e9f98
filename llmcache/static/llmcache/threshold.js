// Shows the slider's value while it moves, and measures when it is let go. The form works without.
"use strict";
{
  const form = document.getElementById("llmcache-threshold");
  const slider = form && form.querySelector("input[type=range]");
  const shown = form && form.querySelector("output");
  if (slider && shown) {
    slider.addEventListener("input", () => { shown.value = Number(slider.value).toFixed(3); });
    slider.addEventListener("change", () => form.requestSubmit());
  }
}
