// Search over all sentences, with the label shares of what is found and their 95 % intervals.

let hits = []; // {trace, row, i, text}
let searching = 0;
let searched = ""; // what `hits` are the hits of

async function runSearch() {
  const wanted = JSON.stringify([state.search, state.everywhere, state.trace]);
  if (wanted === searched) return drawHits();
  const number = ++searching;
  const pattern = state.search && compile(state.search);
  hits = [];
  searched = wanted;
  if (!pattern) return drawHits();
  const traces = state.everywhere ? INDEX.traces.map((_, i) => i) : [current.number];
  for (const index of traces) {
    const trace = index === current.number ? current : await openTrace(index);
    for (let part = 0; part < trace.parts.length; part++) {
      const [{ values }] = await Promise.all([
        loadChunk(`texts-${trace.about.rollouts}-${part}`),
        loadSentences(trace, part),
      ]);
      if (number !== searching) return;
      values.texts.forEach((text, place) => collect(trace, trace.set.bounds[part] + place, text, pattern));
      say(`searched part ${part + 1} of ${trace.parts.length} of ${trace.about.folder}: ${count(hits.length, "hit")}`);
    }
  }
  drawHits();
}

function collect(trace, row, text, pattern) {
  const { arrays, first, end } = sentencesOf(trace, row);
  const offsets = codePointOffsets(text);
  for (let i = first; i < end; i++) {
    const sentence = slice(text, offsets, arrays.start[i], arrays.end[i]);
    if (pattern.test(sentence)) hits.push({ trace, row, i, text: sentence });
  }
}

const labelOfHit = ({ trace, row, i }) => sentencesOf(trace, row).labels[i];

function drawHits() {
  const shown = hits.filter((hit) => !state.label || LABELS[labelOfHit(hit)] === state.label);
  byId("search-shares").replaceChildren(...(hits.length ? shareLines(hits) : []));
  byId("search-count").textContent = state.search
    ? `${count(hits.length, "sentence")} found${state.label ? `, ${shown.length.toLocaleString("en")} labelled ${state.label}` : ""}${shown.length > MOST_HITS ? `; the first ${MOST_HITS} are shown, an export holds all` : ""}`
    : "Type a regular expression; it is matched against each sentence.";
  byId("hits").replaceChildren(...shown.slice(0, MOST_HITS).map(hitLine));
}

const MOST_HITS = 500;

function hitLine({ trace, row, i, text }) {
  const number = sentencesOf(trace, row).arrays.number[i];
  const changes = { view: "responses", trace: trace.about.folder, response: trace.responses.ids[row], sentence: number };
  return element(
    "li",
    {},
    labelChip(LABELS[labelOfHit({ trace, row, i })]),
    " ",
    link(changes, `question ${questionNumber(trace, row)}, answer ${trace.responses.sample[row] + 1}, sentence ${number}`),
    state.everywhere ? element("span", { className: "note" }, ` ${trace.about.folder}`) : null,
    element("div", {}, isolated(text.trim())),
  );
}

function shareLines(found) {
  return LABELS.map((label, number) => {
    const { share, low, high } = clusteredShare(found, (hit) => labelOfHit(hit) === number);
    return element("li", {}, labelChip(label), ` ${percent(share)} (${percent(low)} to ${percent(high)})`);
  });
}

const DRAWS = 1000;
const Z = 1.959964; // 97.5 % point of the normal distribution

// Return the share of the hits that fit, with a 95 % bootstrap interval over their questions; where all hits are alike,
// so that no draw differs, with Wilson's interval for as many questions.
function clusteredShare(found, fits) {
  const groups = new Map();
  for (const hit of found) {
    const key = `${hit.trace.set.questions} ${hit.trace.responses.question[hit.row]}`;
    const group = groups.get(key) ?? [0, 0];
    groups.set(key, [group[0] + Number(fits(hit)), group[1] + 1]);
  }
  const all = [...groups.values()];
  const shareOf = (drawn) => drawn.reduce((sum, g) => sum + g[0], 0) / drawn.reduce((sum, g) => sum + g[1], 0);
  const share = shareOf(all);
  const wilson = Z ** 2 / (all.length + Z ** 2);
  if (share === 0) return { share, low: 0, high: wilson };
  if (share === 1) return { share, low: 1 - wilson, high: 1 };
  const random = randomNumbers(1);
  const draws = Array.from({ length: DRAWS }, () => shareOf(all.map(() => all[Math.floor(random() * all.length)])));
  draws.sort((a, b) => a - b);
  return { share, low: draws[Math.floor(0.025 * DRAWS)], high: draws[Math.ceil(0.975 * DRAWS) - 1] };
}

// Return a function that gives the same numbers in [0, 1) for the same seed (mulberry32, Tommy Ettinger, public domain).
function randomNumbers(seed) {
  let value = seed;
  return () => {
    value = (value + 0x6d2b79f5) | 0;
    let mixed = Math.imul(value ^ (value >>> 15), 1 | value);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
