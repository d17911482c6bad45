// What is shown, as CSV or JSON: the sentences of the listed responses, those found, or the candidates.

const SENTENCE_COLUMNS = [
  "run", "teacher", "student", "distilled", "questions", "sampling", "rollout_id", "question_id", "sample", "correct",
  "sentence", "start", "end", "p_teacher", "p_student", "p_distilled", "tokens_teacher", "tokens_student",
  "tokens_distilled", "label", "label_of_run", "alpha", "beta", "text", "fingerprint",
];

// Return {columns, rows, about} of what the present view shows.
async function shownRows() {
  if (state.view === "candidates") return candidateRows();
  const rows = [];
  const found = state.view === "search" ? hits.filter((hit) => !state.label || LABELS[labelOfHit(hit)] === state.label) : null;
  if (found) found.forEach((hit) => rows.push(sentenceRow(hit.trace, hit.row, hit.i, hit.text)));
  else for (const row of rowsToExport()) rows.push(...(await responseRows(current, row)));
  const traces = [...new Set(found ? found.map((hit) => hit.trace) : [current])];
  return { columns: SENTENCE_COLUMNS, rows, about: { traces: traces.map((trace) => trace.about) } };
}

// In the view of a question, its responses of the trace; otherwise the responses that are listed.
function rowsToExport() {
  if (state.view !== "question") return listed;
  const question = questionRow(current);
  return current.responses.ids.map((_, row) => row).filter((row) => current.responses.question[row] === question);
}

async function responseRows(trace, row) {
  const { found, text, offsets } = await readResponse(trace, row);
  const rows = [];
  for (let i = found.first; i < found.end; i++) {
    rows.push(sentenceRow(trace, row, i, slice(text, offsets, found.arrays.start[i], found.arrays.end[i])));
  }
  return rows;
}

function sentenceRow(trace, row, i, text) {
  const { about, set, responses, questions } = trace;
  const { arrays, labels } = sentencesOf(trace, row);
  const numbers = ["start", "end", "p_teacher", "p_student", "p_distilled", "tokens_teacher", "tokens_student", "tokens_distilled"];
  return [
    about.run, about.teacher, about.student, about.distilled, INDEX.questions[set.questions].name, set.sampling,
    responses.ids[row], questions.ids[responses.question[row]], responses.sample[row], responses.correct[row],
    arrays.number[i], ...numbers.map((name) => arrays[name][i]),
    LABELS[labels[i]], LABELS[arrays.label[i]], alphaOf(trace), betaOf(trace), text, about.fingerprint,
  ];
}

async function candidateRows() {
  const pool = await openPool();
  const { about, values } = pool;
  const questions = new Set(poolQuestions(pool));
  const strategies = about.strategies.flatMap((name) => [`${name}_rank`, `${name}_reason`]);
  const columns = ["run", "teacher", "rollout_id", "question_id", "sample", "correct", ...about.scores, ...strategies, "fingerprint"];
  const rows = [];
  values.question.forEach((question, i) => {
    if (!questions.has(question)) return;
    const responses = pool.responses.get(values.set[i]);
    const row = values.row[i];
    rows.push([
      about.run, INDEX.rollout_sets[values.set[i]].author, pool.id(i), pool.questions.ids[question],
      responses.sample[row], responses.correct[row], ...about.scores.map((name) => values.scores[name][i]),
      ...about.strategies.flatMap((name) => [values.strategies[name].rank[i], values.strategies[name].reason[i]]),
      INDEX.rollout_sets[values.set[i]].fingerprint,
    ]);
  });
  return { columns, rows, about: { candidates: about } };
}

function csvOf({ columns, rows }) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`);
}

function jsonOf({ columns, rows, about }) {
  const objects = rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));
  return [JSON.stringify({ version: INDEX.version, address: addressOf(), ...about, rows: objects }, null, 1)];
}

async function exportShown(kind) {
  say("collecting what is shown ...");
  await shown;
  const found = await shownRows();
  const pieces = kind === "csv" ? csvOf(found) : jsonOf(found);
  const type = kind === "csv" ? "text/csv" : "application/json";
  const address = URL.createObjectURL(new Blob(pieces, { type }));
  element("a", { href: address, download: `distrace-${state.view}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  say(`${count(found.rows.length, "row")} exported as ${kind.toUpperCase()}`);
}
