// From the address to the page: `update` changes the state, and `show` draws what the state says.

let current = null; // the trace that is open
let drawn = {}; // the state that was drawn last
let shown = Promise.resolve(); // when the last `show` has ended
let chosenByPage = false; // the open response is the first of the list, nobody has asked for it
let turn = 0; // of `show`: what an earlier one still waits for is not drawn any more

const PICKED = ["run", "teacher", "distilled", "questions"];
const questionsOf = (trace) => INDEX.questions[INDEX.rollout_sets[trace.rollouts].questions].name;
const pickedOf = (trace) => ({ ...trace, questions: questionsOf(trace) });

function update(changes) {
  state = { ...state, ...changes };
  if (changes.response) chosenByPage = false;
  history.replaceState(null, "", addressOf());
  shown = show().catch(fail);
  return shown;
}

// Draw what the state says; what labels and colours alone change only if they did, or if it has to be `repainted`.
async function show(repainted = false) {
  const mine = ++turn;
  const isLate = () => mine !== turn;
  byId("trouble").hidden = true;
  if (state.theme) document.documentElement.dataset.theme = state.theme;
  else delete document.documentElement.dataset.theme;
  for (const name of Object.keys(VIEWS)) byId(`view-${name}`).hidden = state.view !== name;
  if (!(state.view in VIEWS)) return update({ view: "responses" });
  byId("question-tools").hidden = !["question", "candidates"].includes(state.view);
  markButtons();
  if (!INDEX.traces.length) return showWithoutTraces();
  const number = Math.max(INDEX.traces.findIndex((trace) => trace.folder === state.trace), 0);
  if (current?.number !== number) {
    const opened = await openTrace(number);
    if (isLate()) return;
    current = opened;
    [open, textMatches, drawn] = [null, null, {}];
    loadAll(current).catch(fail);
  }
  fillControls();
  const isMoved = drawn.alpha !== state.alpha || drawn.beta !== state.beta;
  const isRecoloured = repainted || drawn.theme !== state.theme;
  if (isMoved) {
    await showOpenLabels();
    if (isLate()) return; // while a slider moves, the open response follows it, and all others when it rests
    relabel(current);
  }
  await { responses: showResponses, question: showQuestion, candidates: drawCandidates, search: runSearch, keys: drawKeys }[state.view](isLate);
  if (!isLate()) drawn = { ...state };
  if (isMoved || isRecoloured) drawTotals();
}

// Label and draw the open response alone, and let the page show it.
async function showOpenLabels() {
  if (state.view !== "responses" || open?.trace !== current) return;
  labelPart(current, open.found.part);
  markSentences(open);
  drawStripOf(open);
  await new Promise((resolve) => setTimeout(resolve));
}

const showQuestion = () => drawQuestion(current);

function showWithoutTraces() {
  byId("list-count").textContent = "no run of this study traces a distilled model";
  if (state.view === "candidates") return drawCandidates();
  if (state.view === "keys") return drawKeys();
}

async function showResponses(isLate) {
  const sameList = ["find", "correct", "label", "share", "gained", "doubtful", "sort", "down", "alpha", "beta"].every(
    (name) => drawn[name] === state[name],
  );
  if (!sameList && !(await filterList(current))) return;
  if (isLate()) return;
  let row = rowOf(current, state.response);
  if (row < 0) {
    row = listed[0] ?? 0;
    chosenByPage = true;
  }
  if (current.rows === 0) return;
  state.response = current.responses.ids[row];
  const isOpen = open?.row === row && open.trace === current && drawn.math === state.math;
  if (isOpen) markSentences(open);
  else {
    const response = await readResponse(current, row);
    if (isLate()) return;
    open = response;
    drawResponse();
  }
  drawStripOf(open);
  drawList(current, drawn.response !== state.response || !sameList);
  await drawPanel(open);
}

function drawResponse() {
  const question = current.responses.question[open.row];
  byId("question-text").replaceChildren(
    link({ view: "question", question: current.questions.ids[question], sample: current.responses.sample[open.row] }, `Question ${question + 1}`),
    ": ",
    isolated(current.questions.questions[question]),
  );
  byId("summary").textContent = responseSummary(open);
  drawText(open, byId("text"));
  byId("text").scrollTop = 0;
  markChosen(open);
}

function drawStripOf(response) {
  byId("text").classList.toggle("plain", state.plain);
  const strip = byId("strip");
  drawStrip(strip, response.found, chosenPlace(response));
  const counts = LABELS.map((label, i) => `${label} ${current.counts[response.row * LABELS.length + i]}`);
  strip.setAttribute("aria-label", `Labels and probabilities by sentence: ${counts.join(", ")}`);
}

// Load the sentences of all responses, part by part, and draw lists and shares again as they come.
async function loadAll(trace) {
  let redrawn = performance.now();
  for (let part = 0; part < trace.parts.length; part++) {
    await loadSentences(trace, part);
    if (trace !== current) return;
    const isLast = part + 1 === trace.parts.length;
    if (!isLast && performance.now() - redrawn < 500) continue;
    redrawn = performance.now();
    say(isLast ? "" : `read ${trace.set.bounds[part + 1].toLocaleString("en")} of ${count(trace.rows, "response")}`);
    await redrawList(trace);
    if (isLast && chosenByPage && listed.length) update({ response: "" }); // sorted by all labels, another is first
    await new Promise((resolve) => setTimeout(resolve)); // keys and clicks first
  }
}

async function redrawList(trace) {
  drawTotals();
  if (readingTexts) return; // a search for text draws the list when it is done
  if (state.view !== "responses" || !(await filterList(trace)) || trace !== current) return;
  drawList(trace);
}

function drawTotals() {
  if (!current) return;
  const { sentences, labels, changed } = totals(current);
  byId("shares").replaceChildren(
    ...LABELS.map((label, i) => element("li", {}, labelChip(label), ` ${percent(sentences ? labels[i] / sentences : NaN)}`)),
  );
  byId("changed").textContent =
    `${changed.toLocaleString("en")} of ${count(sentences, "label")} changed against the run` +
    (sentences < current.about.sentences ? ` (${count(current.about.sentences, "sentence")} in all, still reading)` : "") +
    (current.about.rejected ? `; ${count(current.about.rejected, "sentence")} rejected` : "") +
    (current.about.rule === "paper" ? "" : `; labels by the rule ${current.about.rule}`);
  const curves = positionCurves(current);
  drawCurves(byId("curves"), curves);
}

// Show the state in the controls, without touching one that is being typed into.
function fillControls() {
  const picked = pickedOf(current.about);
  PICKED.forEach((name, i) => {
    const fits = INDEX.traces.map(pickedOf).filter((trace) => PICKED.slice(0, i).every((other) => trace[other] === picked[other]));
    fillSelect(byId(name), [...new Set(fits.map((trace) => trace[name]))], picked[name]);
  });
  for (const name of ["alpha", "beta"]) {
    const value = name === "alpha" ? alphaOf(current) : betaOf(current);
    for (const control of [byId(name), byId(`${name}-number`)]) if (document.activeElement !== control || control.type === "range") control.value = value;
  }
  for (const name of ["find", "correct", "label", "share", "sort", "search"]) {
    if (document.activeElement !== byId(name) || byId(name).tagName === "SELECT") byId(name).value = state[name];
  }
  byId("search-label").value = state.label;
  byId("everywhere").checked = state.everywhere;
}

function fillSelect(select, names, chosen, textOf = (name) => name) {
  if ([...select.options].map((option) => option.value).join("\n") !== names.join("\n")) {
    select.replaceChildren(...names.map((name) => element("option", { value: name }, textOf(name))));
  }
  select.value = chosen;
}

function pick(name, value) {
  const now = pickedOf(current.about);
  const wanted = { ...now, [name]: value };
  const score = (trace) => PICKED.reduce((sum, key, i) => sum + (trace[key] === wanted[key] ? 1 : 0) * (key === name ? 100 : 4 - i), 0);
  const best = INDEX.traces.map(pickedOf).reduce((a, b) => (score(b) > score(a) ? b : a));
  update({ trace: best.folder, response: "", sentence: -1, question: "" });
}

const isDark = () => (state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);

// Call `change` when a control has been still for a moment: for what may read all texts.
function whenStill(id, change) {
  let timer = 0;
  byId(id).addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => change(event.target), 200);
  });
}

function listen() {
  PICKED.forEach((name) => byId(name).addEventListener("change", (event) => pick(name, event.target.value)));
  for (const name of ["alpha", "beta"]) {
    for (const id of [name, `${name}-number`]) {
      byId(id).addEventListener("input", ({ target }) => target.value !== "" && target.validity.valid && update({ [name]: Number(target.value) }));
    }
  }
  for (const name of ["correct", "label", "sort"]) byId(name).addEventListener("change", ({ target }) => update({ [name]: target.value }));
  byId("search-label").addEventListener("change", ({ target }) => update({ label: target.value }));
  byId("pool").addEventListener("change", ({ target }) => update({ pool: target.value, question: "", candidate: "", strategy: "" }));
  byId("strategy").addEventListener("change", ({ target }) => update({ strategy: target.value }));
  byId("everywhere").addEventListener("change", ({ target }) => update({ everywhere: target.checked }));
  whenStill("share", ({ value }) => update({ share: Number(value) }));
  whenStill("find", ({ value }) => update({ find: value }));
  whenStill("search", ({ value }) => update({ search: value }));
  byId("list").addEventListener("scroll", () => current && requestAnimationFrame(() => drawRows(current)));
  byId("list").addEventListener("keydown", onListKey);
  byId("strip").addEventListener("click", onStripClick);
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", () => show(true).catch(fail));
  window.addEventListener("hashchange", () => {
    state = readAddress();
    show().catch(fail);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(true).catch(fail));
}

function onListKey(event) {
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined || !current) return;
  event.preventDefault();
  moveInList(current, step);
}

function onStripClick(event) {
  if (!open) return;
  const { first, end, arrays } = open.found;
  const place = Math.floor(((end - first) * event.offsetX) / event.target.clientWidth);
  if (place >= 0 && place < end - first) update({ sentence: arrays.number[first + place] });
}

function start() {
  placeButtons();
  listen();
  fillSelect(byId("label"), ["", ...LABELS], "", (name) => name || "any label");
  fillSelect(byId("search-label"), ["", ...LABELS], "", (name) => name || "any label");
  fillSelect(byId("sort"), Object.keys(SORTS), "order", (name) => ({ order: "as they come", correct: "right first", tokens: "tokens", sentences: "sentences", doubtful: "doubtful sentences" })[name] ?? `share of ${name}`);
  state = readAddress();
  readPlaces().catch(fail);
  show().catch(fail);
}

start();
