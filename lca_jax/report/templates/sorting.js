"use strict";
const tables = [...document.querySelectorAll("table.sortable")];
const number = text => {
  const found = text.replace(/,/g, "").match(/-?\d+(\.\d+)?/);
  return found ? Number(found[0]) : -Infinity;
};
for (const table of tables) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const input = document.createElement("input"), label = document.createElement("label");
  input.type = "search";
  label.className = "filter";
  label.append("Search these rows ", input);
  table.closest(".scroll").before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
  });
  heads.forEach((head, place) => {
    if (head.hasAttribute("data-still")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === (place ? "descending" : "ascending") ? !place : Boolean(place);
      const value = row => row.cells[place]?.textContent.trim() ?? "";
      const compare = place ? (one, other) => number(value(one)) - number(value(other)) : (one, other) => value(one).localeCompare(value(other));
      const rows = [...body.rows].sort((one, other) => compare(one, other) * (falling ? -1 : 1));
      body.append(...rows);
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    });
  });
}
