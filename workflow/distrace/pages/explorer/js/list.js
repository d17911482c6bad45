// The list of a trace's responses: filtered, sorted, and only as many rows in the page as are seen.

const ROW_HEIGHT = 46;

let listed = []; // rows of the trace, in the order shown
let textMatches = null; // {find, trace, rows} of the last search for `find`
let listSearch = 0;
let readingTexts = 0; // searches for `find` under way

// Return the filters that need no text, as one function of a row.
function quickFilter(trace) {
  const label = LABELS.indexOf(state.label);
  return (row) => {
    const correct = trace.responses.correct[row];
    if (state.correct && verdict(correct) !== { right: "right", wrong: "wrong", open: "not judged" }[state.correct]) {
      return false;
    }
    if (state.gained && !isGained(trace, row)) return false;
    if (state.doubtful && trace.doubts[row] === 0) return false;
    if (label < 0) return true;
    const share = labelShare(trace, row, label);
    return share > 0 && share >= state.share / 100;
  };
}

const SORTS = {
  order: () => 0,
  correct: (trace) => (row) => [1, 0][Number(trace.responses.correct[row] === true)],
  tokens: (trace) => (row) => trace.responses.tokens[row] ?? -1,
  sentences: (trace) => (row) => sum4(trace, row),
  doubtful: (trace) => (row) => trace.doubts[row],
};
LABELS.forEach((label, number) => (SORTS[label] = (trace) => (row) => labelShare(trace, row, number)));

function sum4(trace, row) {
  let all = 0;
  for (let i = 0; i < LABELS.length; i++) all += trace.counts[row * LABELS.length + i];
  return all;
}

// Work out which responses are listed; a filter by text reads all texts first, and says how far it is.
async function filterList(trace) {
  const search = ++listSearch;
  readingTexts++;
  const matches = await matchingRows(trace, () => search !== listSearch).finally(() => readingTexts--);
  if (search !== listSearch) return false;
  const isQuick = quickFilter(trace);
  listed = [];
  for (let row = 0; row < trace.rows; row++) if ((!matches || matches.has(row)) && isQuick(row)) listed.push(row);
  if (state.sort !== "order" && SORTS[state.sort]) {
    const key = SORTS[state.sort](trace);
    const keys = new Map(listed.map((row) => [row, key(row)]));
    listed.sort((a, b) => keys.get(a) - keys.get(b) || a - b);
  }
  if (state.down) listed.reverse();
  return true;
}

async function matchingRows(trace, isStale) {
  if (!state.find) return null;
  if (textMatches?.find === state.find && textMatches.trace === trace.number) return textMatches.rows;
  const pattern = compile(state.find);
  const rows = new Set();
  if (!pattern) return rows;
  const { bounds } = trace.set;
  for (let part = 0; part + 1 < bounds.length; part++) {
    const { values } = await loadChunk(`texts-${trace.about.rollouts}-${part}`);
    if (isStale()) return rows;
    values.texts.forEach((text, place) => pattern.test(text) && rows.add(bounds[part] + place));
    say(`searched ${bounds[part + 1]} of ${count(trace.rows, "response")}`);
  }
  textMatches = { find: state.find, trace: trace.number, rows };
  return rows;
}

// Return a regular expression, or null, and say what is wrong with it.
function compile(pattern) {
  try {
    return new RegExp(pattern, "um");
  } catch (error) {
    say(`not a regular expression: ${error.message}`);
    return null;
  }
}

// Draw the list; with `follow`, bring the chosen row into view first.
function drawList(trace, follow = false) {
  const list = byId("list");
  byId("list-count").textContent = `${listed.length.toLocaleString("en")} of ${count(trace.rows, "response")}`;
  list.firstElementChild.style.height = `${listed.length * ROW_HEIGHT}px`;
  if (follow) scrollToChosen(trace);
  drawRows(trace);
}

// Put the rows that are seen into the page, a few more above and below.
function drawRows(trace) {
  const list = byId("list");
  const from = Math.max(Math.floor(list.scrollTop / ROW_HEIGHT) - 4, 0);
  const to = Math.min(from + Math.ceil(list.clientHeight / ROW_HEIGHT) + 8, listed.length);
  const chosen = rowOf(trace, state.response);
  const colours = labelColours();
  const rows = listed.slice(from, to).map((row, i) => listRow(trace, row, from + i, row === chosen));
  list.firstElementChild.replaceChildren(...rows.map(({ item }) => item));
  rows.forEach(({ thumbnail, row }) => drawThumbnail(thumbnail, sentencesOf(trace, row), colours));
  const isShown = rows.some(({ row }) => row === chosen);
  if (isShown) list.setAttribute("aria-activedescendant", `row-${chosen}`);
  else list.removeAttribute("aria-activedescendant");
}

function listRow(trace, row, place, isChosen) {
  const { correct, tokens, sample } = trace.responses;
  const shares = LABELS.map((label, i) => `${label} ${percent(labelShare(trace, row, i), 0)}`).join(", ");
  const short = LABELS.map((label, i) => `${LETTERS[label]} ${Math.round(100 * labelShare(trace, row, i))}`).join("  ");
  const name = [questionNumber(trace, row), sample[row] + 1];
  const seen = (className, text) => element("span", { className, "aria-hidden": "true" }, text);
  const thumbnail = element("canvas", { className: "thumbnail", "aria-hidden": "true" });
  const isEmpty = sentencesOf(trace, row) && sum4(trace, row) === 0;
  const item = element(
    "div",
    {
      id: `row-${row}`,
      role: "option",
      className: "row",
      title: shares,
      "aria-selected": String(isChosen),
      "aria-setsize": String(listed.length),
      "aria-posinset": String(place + 1),
      style: { top: `${place * ROW_HEIGHT}px`, height: `${ROW_HEIGHT}px` },
      onclick: () => update({ response: trace.responses.ids[row], sentence: -1 }),
    },
    element("span", { className: "spoken" }, `question ${name[0]}, answer ${name[1]}, ${verdict(correct[row])}, ${shares}`),
    seen(`verdict ${verdict(correct[row]).replace(" ", "-")}`, verdictMark(correct[row])),
    seen("row-name", name.join("·")),
    seen("row-tokens", tokens[row] === null ? "" : `${tokens[row].toLocaleString("en")} tok`),
    thumbnail,
    seen("row-shares", isEmpty ? "no labelled sentence" : short),
  );
  return { item, thumbnail, row };
}

function rowOf(trace, id) {
  trace.rowOfId ??= new Map(trace.responses.ids.map((name, row) => [name, row]));
  return trace.rowOfId.get(id) ?? -1;
}

// Bring the chosen row into view.
function scrollToChosen(trace) {
  const place = listed.indexOf(rowOf(trace, state.response));
  if (place < 0) return;
  const list = byId("list");
  const [top, bottom] = [place * ROW_HEIGHT, (place + 1) * ROW_HEIGHT];
  if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
}

// Choose the response `step` places further on in the list, or the first or last one.
function moveInList(trace, step) {
  if (!listed.length) return;
  const place = listed.indexOf(rowOf(trace, state.response));
  const last = listed.length - 1;
  const next = step === Infinity ? last : step === -Infinity ? 0 : place < 0 ? 0 : place + step;
  const row = listed[Math.min(Math.max(next, 0), last)];
  update({ response: trace.responses.ids[row], sentence: -1 });
}
