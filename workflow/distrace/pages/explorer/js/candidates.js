// The candidates of a training question: all their scores, which strategy took which and why, Teacher sentences marked.

const poolName = (pool) => `${pool.run}/${pool.teacher}`;

const candidatePools = new Map(); // of each candidate held here, the name of its pool

async function openPool() {
  const number = Math.max(INDEX.candidates.findIndex((pool) => poolName(pool) === state.pool), 0);
  const about = INDEX.candidates[number];
  if (!about) return null;
  const { values } = await loadChunk(`candidates-${number}`);
  const sets = await Promise.all(about.rollouts.map((set) => loadChunk(`responses-${set}`)));
  const questions = await loadChunk(`questions-${INDEX.rollout_sets[about.rollouts[0]].questions}`);
  const responses = new Map(about.rollouts.map((set, i) => [set, sets[i].values]));
  const id = (i) => responses.get(values.set[i]).ids[values.row[i]];
  return { number, about, values, responses, questions: questions.values, id };
}

// Learn which candidates are held here, so that evidence can lead to them.
async function readPlaces() {
  for (const [number, about] of INDEX.candidates.entries()) {
    const { values } = await loadChunk(`candidates-${number}`);
    const sets = await Promise.all(about.rollouts.map((set) => loadChunk(`responses-${set}`)));
    const ids = new Map(about.rollouts.map((set, i) => [set, sets[i].values.ids]));
    values.row.forEach((row, i) => candidatePools.set(ids.get(values.set[i])[row], poolName(about)));
  }
}

// Return the rows of the questions that have candidates here, in order; with a strategy, those it took one of.
function poolQuestions(pool) {
  const taken = state.strategy ? pool.values.strategies[state.strategy]?.rank : null;
  const rows = pool.values.question.filter((_, i) => !taken || taken[i] !== null);
  return [...new Set(rows)];
}

async function drawCandidates() {
  const box = byId("candidates-body");
  const pool = await openPool();
  if (state.view !== "candidates") return;
  if (!pool) return box.replaceChildren(element("p", {}, "No run of this study selects training data."));
  fillSelect(byId("pool"), INDEX.candidates.map(poolName), poolName(pool.about));
  fillSelect(byId("strategy"), ["", ...pool.about.strategies], state.strategy, (name) => name || "any or none");
  const rows = poolQuestions(pool);
  const row = chosenQuestion(pool, rows);
  const held = `Held here: ${pool.about.shown_questions.toLocaleString("en")} of ${count(pool.about.all_questions, "training question")}.`;
  if (row < 0) return box.replaceChildren(element("p", {}, held, " None of them has a candidate of that kind."), rejectList(pool));
  const members = pool.values.question.map((question, i) => (question === row ? i : -1)).filter((i) => i >= 0);
  const chosen = members.find((i) => pool.id(i) === state.candidate) ?? members[0];
  const text = await candidateText(pool, chosen);
  box.replaceChildren(
    element("p", { className: "note" }, held, state.strategy ? ` ${count(rows.length, "question")} of which ${state.strategy} took a candidate.` : ""),
    element("h2", { tabIndex: -1 }, `Training question ${row + 1}`),
    element("blockquote", {}, isolated(pool.questions.questions[row])),
    element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "scores" }, scoreTable(pool, members, chosen)),
    element("h3", {}, `Candidate ${pool.id(chosen)}`),
    strategyLines(pool, chosen),
    text,
    rejectList(pool),
  );
}

function chosenQuestion(pool, rows) {
  const row = pool.questions.ids.indexOf(state.question);
  return rows.includes(row) ? row : (rows[0] ?? -1);
}

function scoreTable(pool, members, chosen) {
  const { scores, strategies } = pool.values;
  const names = pool.about.scores;
  const taken = (i) => pool.about.strategies.filter((name) => strategies[name].rank[i] !== null);
  const head = ["candidate", "verdict", "taken by", ...names].map((name) => element("th", { scope: "col" }, name));
  const rows = members.map((i) => {
    const values = pool.responses.get(pool.values.set[i]);
    const row = pool.values.row[i];
    const name = `${INDEX.rollout_sets[pool.values.set[i]].author} ${values.sample[row] + 1}`;
    return element(
      "tr",
      { className: i === chosen ? "chosen" : "" },
      element("th", { scope: "row" }, element("button", { "aria-pressed": String(i === chosen), onclick: () => update({ candidate: pool.id(i) }) }, name)),
      element("td", {}, verdict(values.correct[row])),
      element("td", {}, taken(i).join(", ") || "none"),
      ...names.map((score) => element("td", { className: "number" }, scores[score][i] === null ? "-" : fixed(scores[score][i]))),
    );
  });
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

function strategyLines(pool, i) {
  const lines = pool.about.strategies.map((name) => {
    const { rank, reason } = pool.values.strategies[name];
    const models = pool.about.models[name] ?? [];
    const then = rank[i] !== null && models.length ? ` (${models.join(", ")} learned from it)` : "";
    return element("li", {}, element("b", {}, name), rank[i] === null ? " passed it over: " : ` took it, rank ${rank[i]}: `, reason[i], then);
  });
  return element("ul", {}, ...lines);
}

// Return the text of a candidate, the sentences that are likelier under the teacher by more than beta marked.
async function candidateText(pool, i) {
  const set = pool.values.set[i];
  const row = pool.values.row[i];
  const { bounds } = INDEX.rollout_sets[set];
  const part = partOf(bounds, row);
  const text = await textOf(set, row);
  const offsets = codePointOffsets(text);
  const { arrays } = await loadChunk(`leans-${pool.number}-${pool.about.rollouts.indexOf(set)}-${part}`);
  let first = 0;
  for (let place = 0; place < row - bounds[part]; place++) first += arrays.counts[place];
  const beta = state.beta < 0 ? pool.about.beta : state.beta;
  const spans = [];
  let reached = 0;
  for (let k = first; k < first + arrays.counts[row - bounds[part]]; k++) {
    const lean = arrays.p_teacher[k] - arrays.p_student[k];
    const label = lean > beta ? "Teacher" : lean < -beta ? "Student" : "Shared";
    if (arrays.start[k] > reached) spans.push(element("span", { className: "unlabelled" }, ...piece(slice(text, offsets, reached, arrays.start[k]))));
    const [body, lineEnds] = withoutLineEnds(slice(text, offsets, arrays.start[k], arrays.end[k]));
    const span = element("span", { className: "sentence" }, ...piece(body));
    if (label !== "Shared") [span.dataset.label, span.dataset.letter] = [label, LETTERS[label]];
    span.title = `teacher ${fixed(arrays.p_teacher[k])}, student ${fixed(arrays.p_student[k])}`;
    span.style.setProperty("--over", arrays.p_teacher[k].toFixed(3));
    span.style.setProperty("--under", arrays.p_student[k].toFixed(3));
    spans.push(span, lineEnds);
    reached = arrays.end[k];
  }
  spans.push(...piece(slice(text, offsets, reached, offsets ? offsets.length - 1 : text.length)));
  return element("div", { className: "text", tabIndex: 0, role: "region", "aria-label": "candidate" }, ...spans);
}

function rejectList(pool) {
  const rejects = pool.values.rejects;
  const lines = rejects.map(({ source, reason }) => element("li", {}, element("code", {}, source), ": ", isolated(reason)));
  return element("details", {}, element("summary", {}, count(rejects.length, "rejected candidate")), element("ul", {}, ...lines));
}

async function moveInPool(step) {
  const pool = await openPool();
  if (!pool) return;
  const rows = poolQuestions(pool);
  const place = rows.indexOf(chosenQuestion(pool, rows));
  const row = rows[(place + step + rows.length) % rows.length];
  if (row !== undefined) update({ question: pool.questions.ids[row], candidate: "" });
}
