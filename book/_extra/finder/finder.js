// The filter of the page "Find a method". Without it the page is a plain table.
(() => {
  const form = document.querySelector("form.finder");
  const table = document.querySelector("table.finder-table");
  const rows = [...table.tBodies[0].rows].map((row) => ({
    row,
    text: row.textContent.toLowerCase(),
    section: row.cells[1].textContent.trim(),
    kind: row.cells[2].textContent.trim(),
  }));
  const field = (name) => form.querySelector(`#finder-${name}`).value;

  function inSection(section, chosen) {
    return !chosen || section === chosen || section.startsWith(`${chosen}.`);
  }

  function update() {
    const words = field("text").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, text, section, kind } of rows) {
      const wanted =
        inSection(section, field("section")) &&
        (!field("kind") || kind === field("kind")) &&
        words.every((word) => text.includes(word));
      row.hidden = !wanted;
      shown += wanted;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length} shown`;
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update(); // a browser may have kept the fields of an earlier visit
})();
