// What test_report.py lets a copy of the page find out about itself: it presses, clicks and writes what happened.
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
const content = (cell) => cell.dataset.value ?? cell.textContent;
const press = (table, i) => {
  const head = table.tHead.rows[0].cells[i];
  head.querySelector("button").click();
  const sorted = table.querySelectorAll("[aria-sort=ascending], [aria-sort=descending]").length;
  return [head.ariaSort, sorted, [...table.tBodies[0].rows].map((row) => content(row.cells[i]))];
};
const loaded = (audio) => new Promise((done) => {
  audio.addEventListener("loadedmetadata", () => done(audio.duration), { once: true });
  audio.addEventListener("error", () => done("error"), { once: true });
  audio.preload = "metadata";
  audio.load();
});
const play = (audio, audios) => new Promise((done) => {  // looks at once: there may be no device that plays on
  const button = audio.parentElement.querySelector("button.play");
  audio.addEventListener("play", () => {
    done([button.ariaLabel, audios.flatMap((one, i) => one.paused ? [] : [i])]);
  }, { once: true });
  button.click();
});
addEventListener("load", async () => {
  const [plain, grid] = [document.querySelector("table.plain"), document.querySelector("table.grid")];
  const presses = [[plain, 1], [plain, 1], [plain, 0], [plain, 2], [grid, 2], [grid, 1]];
  const result = { sorts: presses.map(([table, i]) => press(table, i)) };
  const audios = [...document.querySelectorAll("audio")];
  result.controls = audios.filter((audio) => audio.controls).length;
  result.durations = await Promise.all(audios.map(loaded));
  const view = document.querySelector(".view");
  const box = view.getBoundingClientRect();
  view.dispatchEvent(new MouseEvent("click", { clientX: box.left + 0.5 * box.width, bubbles: true }));
  const cursor = view.querySelector(".cursor").getBoundingClientRect();
  result.time = audios[0].currentTime;
  result.cursor = (cursor.left + cursor.width / 2 - box.left) / box.width;
  const mask = document.querySelector("img.mask");
  const seen = () => [mask.previousSibling, mask].map((image) => getComputedStyle(image).visibility);
  result.before = seen();
  [...document.querySelectorAll(".choice button")].find((button) => button.textContent === "mask").click();
  result.after = seen();
  document.querySelector(".grid button.play").focus();
  const key = (name) => {
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
    return [...grid.tBodies[0].rows].indexOf(document.activeElement.closest("tr"));
  };
  result.rows = ["ArrowDown", "ArrowUp", "ArrowUp"].map(key);
  result.playing = [await play(audios[0], audios), await play(audios[1], audios)];
  result.links = [...document.querySelectorAll("nav a")].map((link) => document.querySelector(link.hash) !== null);
  result.pictures = [...document.images].every((image) => image.naturalWidth > 1);
  result.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  result.errors = errors;
  document.body.replaceChildren(JSON.stringify(result));
});
