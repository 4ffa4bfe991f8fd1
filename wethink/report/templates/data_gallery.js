"use strict";
// All text of models and data is set as text, never as markup. Images come in chunks, each a script that calls
// `gallery.chunk`: scripts load from file://, where fetch does not.
const gallery = (() => {
  const FACETS = { source: "Source", category: "Type", ability: "Ability", decision: "Decision", reason: "Reason" };
  const NEARBY = 9, KEPT_CHUNKS = 24;
  const $ = (id) => document.getElementById(id);
  const chunks = new Map(), waiting = new Map();
  let index = null, images = [], place = 0, drawing = 0;
  const chosen = Object.fromEntries(Object.keys(FACETS).map((facet) => [facet, -1]));

  function make(tag, className, text, ...children) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined && text !== null) node.textContent = text;
    node.append(...children);
    return node;
  }

  // --- data ---
  function load(number) {
    if (chunks.has(number)) {
      const found = chunks.get(number);
      chunks.delete(number);
      chunks.set(number, found); // the most recently used is the last
      return Promise.resolve(found);
    }
    if (!waiting.has(number)) {
      let done;
      const promise = new Promise((resolve) => { done = resolve; });
      waiting.set(number, { promise, done });
      const script = make("script");
      script.src = `data/chunk-${String(number).padStart(5, "0")}.js`;
      script.onerror = () => done(null);
      script.onload = () => script.remove();
      document.head.append(script);
    }
    return waiting.get(number).promise;
  }

  function chunk(number, entries) {
    chunks.set(number, entries);
    for (const old of chunks.keys()) {
      if (chunks.size <= KEPT_CHUNKS) break;
      chunks.delete(old);
    }
    const waiter = waiting.get(number);
    waiting.delete(number);
    if (waiter) waiter.done(entries);
  }

  const entry = (image) => load(Math.floor(image / index.chunk)).then((found) => found && found[image % index.chunk]);

  // --- filters ---
  function passes(row, except) {
    for (const facet in chosen) {
      const wanted = chosen[facet];
      if (wanted < 0 || facet === except) continue;
      const value = index.rows[facet][row];
      if (Array.isArray(value) ? !value.includes(wanted) : value !== wanted) return false;
    }
    return true;
  }

  function filter(keep) {
    const current = images[place], found = [];
    let count = 0;
    for (let row = 0; row < index.rows.image.length; row++) {
      if (!passes(row)) continue;
      count++;
      if (found[found.length - 1] !== index.rows.image[row]) found.push(index.rows.image[row]);
    }
    images = found;
    place = Math.max(0, keep ? images.indexOf(current) : 0);
    filter.rows = count;
    options();
    show();
  }

  function options() {
    for (const facet in FACETS) {
      const counts = new Array(index.values[facet].length).fill(0);
      for (let row = 0; row < index.rows.image.length; row++) {
        if (!passes(row, facet)) continue;
        const value = index.rows[facet][row];
        for (const one of Array.isArray(value) ? value : [value]) if (one >= 0) counts[one]++;
      }
      const select = $(`filter-${facet}`);
      select.classList.toggle("set", chosen[facet] >= 0);
      select.replaceChildren(new Option("all", -1), ...index.values[facet].map((name, number) =>
        new Option(`${name} (${counts[number].toLocaleString("en")})`, number)));
      select.value = String(chosen[facet]);
    }
  }

  function clear() {
    for (const facet in chosen) chosen[facet] = -1;
    filter(true);
  }

  // --- the page ---
  async function show() {
    const mine = ++drawing, some = images.length > 0;
    $("main").hidden = !some;
    $("none").hidden = some;
    const pictures = images.filter((image) => image < index.pictures).length, apart = place >= pictures;
    const [at, of] = apart ? [place - pictures, images.length - pictures] : [place, pictures];
    $("count").textContent = some
      ? `${apart ? "without image, page" : "image"} ${(at + 1).toLocaleString("en")} of ${of.toLocaleString("en")} · ${filter.rows.toLocaleString("en")} of ${index.rows.image.length.toLocaleString("en")} rows`
      : "no rows";
    strip();
    if (!some) return;
    const image = images[place], found = await entry(image);
    if (mine !== drawing) return; // the reader has gone on
    if (!found) {
      $("shown").replaceChildren(make("p", "text", `The data of this image is missing: data/chunk-${Math.floor(image / index.chunk)}.`));
      $("rows").replaceChildren();
      return;
    }
    $("shown").replaceChildren(...picture(found));
    const first = index.first[image];
    const cards = found.rows.map((row, number) => card(row, passes(first + number)));
    cards.sort((a, b) => b.open - a.open);
    $("rows").replaceChildren(...cards);
    history.replaceState(null, "", `#${image}`);
    document.body.dataset.image = found.id;
  }

  function thumbnail(found, alt) {
    if (!found.thumb) return make("span", "meta", "no image");
    const node = make("img", found.pixelated ? "pixelated" : "");
    node.alt = alt;
    if (found.thumb.startsWith("data:image/")) node.src = found.thumb;
    return node;
  }

  function picture(found) {
    if (!found.thumb) return [make("p", "meta", `${found.source} · rows about no image, or whose image was not ingested`)];
    const parts = [thumbnail(found, `image ${found.id.slice(0, 12)} of ${found.source}`),
      make("p", "meta", `${found.source} · ${found.split} · ${found.width} × ${found.height} · ${found.origin}`)];
    if (found.coarse) parts.push(make("h2", "", "Coarse description"), make("p", "text", found.coarse));
    if (found.turns.length) {
      parts.push(make("h2", "", "Mined details"), make("ol", "turns", null, ...found.turns.map((turn) =>
        make("li", "", null, make("b", "", turn.question), make("span", "", turn.answer)))));
    }
    if (found.text) parts.push(make("h2", "", "Description"), make("p", "text", found.text));
    return parts;
  }

  function card(row, matches) {
    const node = make("details", matches ? "row" : "row dimmed");
    node.open = matches;
    node.append(make("summary", "", null, make("p", "text", row.problem), make("span", `chip ${row.decision}`, row.decision)));
    node.append(make("div", "chips", null, ...[row.category, row.among, ...row.abilities, row.route].filter(Boolean).map((name) => make("span", "chip", name))));
    if (row.reason) node.append(make("h2", "", "Reason"), make("p", "text", row.reason));
    const answers = [["from the description", row.described], ["from the image", row.seen], ["adjudicator", row.third]]
      .filter(([, value]) => value !== null);
    if (answers.length) {
      node.append(make("h2", "", row.agreed === null ? "Answers" : row.agreed ? "Answers: they agree" : "Answers: they disagree"));
      node.append(make("div", "answers", null, ...answers.map(([name, value]) =>
        make("div", "", null, make("h3", "", name), make("p", "text", value)))));
    }
    if (row.answer) node.append(make("h2", "", "Final answer"), make("p", "text", row.answer));
    if (row.path) node.append(make("h2", "", "Refined reasoning"), make("p", "text path", row.path));
    node.append(make("p", "meta", `${row.id} · ${row.provenance}`));
    return node;
  }

  function strip() {
    const from = Math.max(0, Math.min(place - NEARBY, images.length - 2 * NEARBY - 1));
    $("strip").replaceChildren(...images.slice(from, from + 2 * NEARBY + 1).map((image, offset) => {
      const button = make("button");
      button.setAttribute("aria-label", image < index.pictures ? `image ${from + offset + 1}` : "rows without image");
      if (from + offset === place) button.setAttribute("aria-current", "true");
      button.onclick = () => go(from + offset);
      entry(image).then((found) => { if (found) button.replaceChildren(thumbnail(found, "")); });
      return button;
    }));
  }

  function go(to) {
    if (!images.length) return;
    place = Math.max(0, Math.min(images.length - 1, to));
    show();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !index) return;
    if (event.target instanceof HTMLSelectElement && event.key !== "Escape") return; // its own keys
    const actions = { ArrowRight: () => go(place + 1), j: () => go(place + 1), ArrowLeft: () => go(place - 1), k: () => go(place - 1),
      Home: () => go(0), End: () => go(images.length - 1), f: () => $("filter-source").focus(), c: clear,
      Escape: () => { document.activeElement.blur(); $("main").focus(); } };
    if (event.key in actions) {
      event.preventDefault();
      actions[event.key]();
    }
  }

  function start(given) {
    index = given;
    index.first = new Map();
    index.rows.image.forEach((image, row) => { if (!index.first.has(image)) index.first.set(image, row); });
    index.first = Object.fromEntries(index.first);
    for (const facet in FACETS) {
      const select = make("select");
      select.id = `filter-${facet}`;
      select.onchange = () => { chosen[facet] = Number(select.value); filter(true); };
      $("filters").append(make("label", "", `${FACETS[facet]} `, select));
    }
    $("previous").onclick = () => go(place - 1);
    $("next").onclick = () => go(place + 1);
    $("clear").onclick = clear;
    document.addEventListener("keydown", keys);
    filter(false);
    const asked = images.indexOf(Number(location.hash.slice(1)));
    if (location.hash && asked > 0) go(asked);
  }

  return { start, chunk };
})();
