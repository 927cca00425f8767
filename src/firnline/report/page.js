"use strict";
// Filters the browser of kept and dropped files. The page reads the same without it.
(() => {
  const files = [...document.querySelectorAll("details.file")];
  const rule = document.getElementById("rule");
  const language = document.getElementById("language");
  const words = document.getElementById("words");
  const count = document.getElementById("count");
  if (!rule || !language || !words || !count) return;
  const apply = () => {
    const text = words.value.trim().toLowerCase();
    let shown = 0;
    for (const file of files) {
      const fits =
        (!rule.value || file.dataset.rule === rule.value) &&
        (!language.value || file.dataset.language === language.value) &&
        (!text || file.textContent.toLowerCase().includes(text));
      file.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = `${shown} of ${files.length} files`;
  };
  for (const control of [rule, language, words]) control.addEventListener("input", apply);
  apply();
})();
