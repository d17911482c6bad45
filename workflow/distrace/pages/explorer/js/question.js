// One question: the answers of teacher, student and each distilled model side by side.

// Return the numbers of the rollout sets that answer a set of test questions with the same sampling.
function setsBeside(number) {
  const { questions, sampling } = INDEX.rollout_sets[number];
  return INDEX.rollout_sets
    .map((set, other) => ({ set, other }))
    .filter(({ set }) => set.questions === questions && set.sampling === sampling)
    .map(({ other }) => other);
}

// Return the row of the questions that is looked at: that of the address, or of the response in focus, or the first.
function questionRow(trace) {
  const named = trace.questions.ids.indexOf(state.question);
  if (named >= 0) return named;
  const row = rowOf(trace, state.response);
  return row >= 0 ? trace.responses.question[row] : 0;
}

async function drawQuestion(trace) {
  const box = byId("question-body");
  const row = questionRow(trace);
  const sets = setsBeside(trace.about.rollouts);
  const answers = (await Promise.all(sets.map((set) => answersTo(set, row)))).filter((answer) => answer);
  const samples = Math.max(1, ...answers.map((answer) => answer.rows.length));
  const sample = Math.min(state.sample, samples - 1);
  if (state.view !== "question" || questionRow(trace) !== row) return;
  const cards = await Promise.all(answers.map((answer) => answerCard(trace, answer, sample)));
  box.replaceChildren(
    element("h2", { tabIndex: -1 }, `Question ${row + 1} of ${trace.questions.ids.length.toLocaleString("en")}`),
    element("blockquote", {}, isolated(trace.questions.questions[row])),
    element("p", { className: "note" }, "Expected answer: ", isolated(trace.questions.answers[row] ?? "none")),
    ...sampleButtons(samples, sample),
    element("div", { className: "cards" }, ...cards),
  );
}

function sampleButtons(samples, chosen) {
  if (samples < 2) return [];
  const buttons = Array.from({ length: samples }, (_, sample) =>
    element("button", { "aria-pressed": String(sample === chosen), onclick: () => update({ sample }) }, `answer ${sample + 1}`),
  );
  return [element("div", { className: "buttons", role: "group", "aria-label": "which answer" }, ...buttons)];
}

async function answersTo(set, question) {
  const { values } = await loadChunk(`responses-${set}`);
  const rows = [];
  values.question.forEach((other, row) => other === question && rows.push(row));
  return rows.length ? { set, values, rows } : null;
}

async function answerCard(trace, { set, values, rows }, sample) {
  const about = INDEX.rollout_sets[set];
  const row = rows[Math.min(sample, rows.length - 1)];
  const body = element("div", { className: "text", tabIndex: 0, role: "region", "aria-label": `answer of ${about.author}` });
  const own = INDEX.traces.findIndex(
    (other) => other.rollouts === set && other.run === trace.about.run && other.teacher === trace.about.teacher,
  );
  if (own >= 0) await drawLabelled(own === trace.number ? trace : await openTrace(own), row, body);
  else body.append(isolated(await textOf(set, row)));
  return element(
    "article",
    { className: "card" },
    element("h3", {}, roleOf(trace, about.author), " ", element("span", { className: "note" }, about.author)),
    element("p", { className: `verdict ${verdict(values.correct[row]).replace(" ", "-")}` }, `${verdictMark(values.correct[row])} ${verdict(values.correct[row])}`),
    body,
    own >= 0 ? link({ view: "responses", trace: INDEX.traces[own].folder, response: values.ids[row] }, "all its sentences") : null,
  );
}

async function drawLabelled(trace, row, body) {
  const response = await readResponse(trace, row);
  drawText(response, body);
  response.spans.forEach((span) => (span.onclick = () => update({ view: "responses", trace: trace.about.folder, response: trace.responses.ids[row], sentence: Number(span.dataset.sentence) })));
}

async function textOf(set, row) {
  const { bounds } = INDEX.rollout_sets[set];
  const part = partOf(bounds, row);
  const { values } = await loadChunk(`texts-${set}-${part}`);
  return values.texts[row - bounds[part]];
}

function roleOf(trace, author) {
  if (author === trace.about.teacher) return "teacher";
  if (author === trace.about.student) return "student";
  return author === trace.about.distilled ? "distilled" : "also";
}

function moveToQuestion(trace, step) {
  const number = trace.questions.ids.length;
  const row = (questionRow(trace) + step + number) % number;
  update({ question: trace.questions.ids[row] });
}
