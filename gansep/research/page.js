"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, attributes = {}, text = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  document.documentElement.classList.add("scripted");

  // ---- sorting: numbers by their first number, text by its letters, what is missing last

  const MISSING = /^(|-|–|—|nan|n\/a)$/i;
  const NUMBER = /^[<>≤≥~≈\s]*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?![\p{L}_-])/iu;

  const content = (cell) => (cell.dataset.value ?? cell.textContent).trim().replaceAll("\u2212", "-");

  const sortBy = (head) => {
    const table = head.closest("table");
    const column = head.cellIndex;
    const rows = all("tbody > tr", table).map((row) => ({ row, text: content(row.cells[column]) }));
    const missing = rows.filter(({ text }) => MISSING.test(text));
    const known = rows.filter(({ text }) => !MISSING.test(text));
    const numeric = known.every(({ text }) => NUMBER.test(text));
    const before = head.getAttribute("aria-sort");
    const down = before === "none" ? numeric : before === "ascending";
    known.sort((a, b) => (down ? -1 : 1) * (numeric
      ? Number(NUMBER.exec(a.text)[1]) - Number(NUMBER.exec(b.text)[1])
      : a.text.localeCompare(b.text, undefined, { numeric: true, sensitivity: "base" })));
    one("tbody", table).append(...[...known, ...missing].map(({ row }) => row));
    for (const other of all("th[data-sort]", table)) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };

  for (const head of all("th[data-sort]")) {
    const button = make("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sortBy(head));
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
  }
  for (const table of all("table.plain")) {
    for (const head of all("thead th", table)) {
      const cells = all("tbody > tr", table).map((row) => row.cells[head.cellIndex]);
      const known = cells.filter((cell) => !MISSING.test(content(cell)));
      if (!known.length || known.every((cell) => NUMBER.test(content(cell)))) {
        for (const cell of [head, ...cells]) cell.classList.add("number");
      }
    }
  }

  // ---- players: one plays at a time

  let playing = null;
  let frame = 0;

  const show = (audio, seconds = audio.currentTime) => {
    const sound = audio.parentElement;
    sound.style.setProperty("--at", Math.min(1, seconds / Number(audio.dataset.seconds)));
    one(".clock", sound).textContent = seconds.toFixed(1);
  };
  const follow = () => {
    frame = 0;
    if (!playing) return;
    show(playing);
    frame = requestAnimationFrame(follow);
  };
  const seek = (audio, seconds) => {
    const to = Math.max(0, Math.min(Number(audio.dataset.seconds), seconds));
    audio.parentElement.classList.add("started");
    show(audio, to); // a sound that is not loaded yet gets there later
    if (audio.readyState > 0) audio.currentTime = to;
    else {
      audio.addEventListener("loadedmetadata", () => { audio.currentTime = to; }, { once: true });
      audio.preload = "metadata";
      audio.load();
    }
  };
  const toggle = (audio) => {
    if (audio.paused) audio.play().catch(() => { if (audio.paused) stopped(audio); });
    else audio.pause();
  };
  const state = (audio, on) => {
    const button = one("button.play", audio.parentElement);
    button.setAttribute("aria-label", `${on ? "Pause" : "Play"} ${audio.getAttribute("aria-label")}`);
    audio.parentElement.classList.toggle("playing", on);
  };
  const stopped = (audio) => {
    if (playing === audio) playing = null;
    state(audio, false);
    show(audio);
  };

  // the button of the same column in the next or the previous row
  const beside = (button, by) => {
    const cell = button.closest("td");
    if (!cell) return null;
    for (let row = cell.parentElement; (row = by > 0 ? row.nextElementSibling : row.previousElementSibling);) {
      const found = one("button.play", row.cells[cell.cellIndex]);
      if (found) return found;
    }
    return null;
  };

  for (const audio of all(".sound > audio")) {
    const sound = audio.parentElement;
    const button = make("button", { type: "button", class: "play" });
    const view = one(".view", sound);
    audio.removeAttribute("controls");
    sound.prepend(button);
    sound.append(make("span", { class: "clock", "aria-hidden": "true" }, "0.0"));
    view.append(make("i", { class: "cursor" }));
    state(audio, false);
    button.addEventListener("click", () => toggle(audio));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.1, ArrowRight: 0.1 }[event.key];
      const next = beside(button, { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0);
      if (step) seek(audio, audio.currentTime + step);
      else if (event.key === "Home") seek(audio, 0);
      else if (next && event.key.startsWith("Arrow")) next.focus();
      else return;
      event.preventDefault();
    });
    view.addEventListener("click", (event) => {
      const box = view.getBoundingClientRect();
      seek(audio, (event.clientX - box.left) / box.width * Number(audio.dataset.seconds));
    });
    audio.addEventListener("play", () => {
      if (playing && playing !== audio) playing.pause();
      playing = audio;
      sound.classList.add("started");
      state(audio, true);
      if (!frame) frame = requestAnimationFrame(follow);
    });
    audio.addEventListener("pause", () => stopped(audio));
    audio.addEventListener("ended", () => stopped(audio));
    audio.addEventListener("seeked", () => show(audio));
  }

  // ---- what an example shows

  const choice = (label, names, choose) => {
    const group = make("div", { class: "choice", role: "group", "aria-label": label });
    for (const name of names) {
      const button = make("button", { type: "button", "aria-pressed": "false" }, name);
      button.addEventListener("click", () => {
        for (const other of all("button", group)) other.setAttribute("aria-pressed", String(other === button));
        choose(name);
      });
      group.append(button);
    }
    return group;
  };
  const narrow = matchMedia("(max-width: 760px)").matches;
  for (const example of all(".example")) {
    const pictures = choice("Pictures", ["spectrogram", "mask"], (name) => { example.dataset.view = name; });
    const figures = choice("Figures", ["one figure", "all figures"], (name) => {
      example.classList.toggle("terse", name === "one figure");
    });
    const groups = [
      ...(one("img.mask", example) ? [pictures] : []),
      ...(one("dl > div + div", example) ? [figures] : []),
    ];
    one(".tools", example).prepend(...groups);
    one("button", pictures).click();
    one("button:last-child", figures).click();
    if (narrow) one("button", figures).click();
  }

  // ---- contents, and how to use the keyboard

  const sections = all("main > section");
  if (sections.length > 1) {
    const list = make("nav", { "aria-label": "Contents" });
    for (const section of sections) list.append(make("a", { href: `#${section.id}` }, one("h2", section).textContent));
    one("header").append(list);
  }
  if (one(".sound")) {
    const keys = "Space plays and pauses, ← and → move by 0.1 s, ↑ and ↓ go to the same source of another method. "
      + "A click on a picture moves there; a click on the head of a column sorts by it.";
    one("header").append(make("p", { class: "keys" }, keys));
  }
})();
