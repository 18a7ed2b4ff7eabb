"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);
const name = (block, index) => {
  const [site, layer] = data.blocks[block];
  return (site === "residual" ? "" : site + " ") + layer + ":" + index;
};
const [RANK, BLOCK, INDEX, SCORE, FREQUENCY, LOW, HIGH, CLASSES, COPIES, WORDS, SAID] = Array(11).keys();
const copyName = copy => name(copy[0], copy[1]);
const texts = data.rows.map(row => [
  name(row[BLOCK], row[INDEX]), "layer " + data.blocks[row[BLOCK]].join(" "), ...row[CLASSES].map(one => data.classes[one]),
  ...row[COPIES].map(copyName), ...row[WORDS].map(word => data.forms[word[0]]), row[SAID] || "",
].join("\n").toLowerCase());
const keys = {
  rank: row => row[RANK], neuron: row => row[BLOCK] * 1e6 + row[INDEX], layer: row => row[BLOCK],
  score: row => -row[SCORE], frequency: row => -(row[FREQUENCY] ?? -1), interval: row => row[LOW] ?? Infinity,
  classes: row => -row[CLASSES].length, copies: row => -row[COPIES].length,
};
const STEP = 100;
let order = data.rows.map((_, place) => place), chosen = order, shown = STEP, by = "rank", falling = false;

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
function cell(text) { return element("td", text, "n"); }
function line(row) {
  const tr = element("tr"), percent = value => value === null ? "–" : Math.round(100 * value) + "%";
  const head = element("th", name(row[BLOCK], row[INDEX]));
  head.scope = "row";
  tr.append(cell(row[RANK]), head, cell(row[SCORE]), cell(percent(row[FREQUENCY])),
    cell(row[LOW] === null ? "–" : row[LOW] + " to " + row[HIGH]));
  const classes = element("td"), copies = element("td"), words = element("div", undefined, "words"), told = element("td");
  row[CLASSES].forEach((one, place) => classes.append(place ? ", " : "", element("bdi", data.classes[one])));
  copies.textContent = row[COPIES].map(copy => copyName(copy) + " (" + (copy[2] / 100).toFixed(2) + ")").join(", ");
  for (const [form, score] of row[WORDS]) {
    const span = element("span", undefined, score > 0 ? "up" : "down");
    span.style.setProperty("--heat", Math.round(0.62 * Math.abs(score)) + "%");
    span.append(element("bdi", data.forms[form]), element("small", " " + (score > 0 ? "+" : "−") + (Math.abs(score) / 100).toFixed(2)));
    words.append(span);
  }
  told.append(words);
  tr.append(classes, copies, told);
  if (data.described) tr.append(element("td", row[SAID] || "–"));
  return tr;
}
function draw() {
  byId("rows").replaceChildren(...chosen.slice(0, shown).map(place => line(data.rows[place])));
  byId("count").textContent = chosen.length.toLocaleString("en") + " of " + data.rows.length.toLocaleString("en") + " neurons";
  byId("more").hidden = shown >= chosen.length;
}
function search() {
  const wanted = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const layer = byId("layer").value, kind = byId("class").value;
  chosen = order.filter(place => {
    const row = data.rows[place];
    return (layer === "" || row[BLOCK] === Number(layer)) && (kind === "" || row[CLASSES].includes(Number(kind)))
      && wanted.every(word => texts[place].includes(word));
  });
  shown = STEP;
  draw();
}
function sort(button) {
  falling = by === button.dataset.by && !falling;
  by = button.dataset.by;
  order.sort((one, other) => (keys[by](data.rows[one]) - keys[by](data.rows[other])) * (falling ? -1 : 1) || one - other);
  for (const other of document.querySelectorAll("[data-by]")) other.parentElement.removeAttribute("aria-sort");
  button.parentElement.setAttribute("aria-sort", falling ? "descending" : "ascending");
  search();
}
data.blocks.forEach((block, place) => byId("layer").add(new Option(block.join(" "), place)));
data.classes.forEach((kind, place) => byId("class").add(new Option(kind, place)));
for (const id of ["search", "layer", "class"]) byId(id).addEventListener("input", search);
for (const button of document.querySelectorAll("[data-by]")) button.addEventListener("click", () => sort(button));
byId("more").addEventListener("click", () => { shown += STEP; draw(); });
draw();
