// The trace that is open: its responses, and the probabilities and labels of their sentences.

// Return a trace with its responses and questions; its sentences are loaded by `loadSentences`.
async function openTrace(number) {
  const about = INDEX.traces[number];
  const set = INDEX.rollout_sets[about.rollouts];
  const [responses, questions] = await Promise.all([
    loadChunk(`responses-${about.rollouts}`),
    loadChunk(`questions-${set.questions}`),
  ]);
  const rows = responses.values.ids.length;
  return {
    number,
    about,
    set,
    responses: responses.values,
    questions: questions.values,
    rows,
    parts: new Array(set.bounds.length - 1).fill(null),
    counts: new Int32Array(rows * LABELS.length),
    doubts: new Int32Array(rows),
    changed: 0,
    student: await studentVerdicts(about, set),
  };
}

// Return whether the student's answers are right, by "question sample", and by "question" for its first answer; null
// if it wrote none.
async function studentVerdicts(about, set) {
  const number = INDEX.rollout_sets.findIndex(
    (other) =>
      other.author === about.student && other.questions === set.questions && other.sampling === set.sampling,
  );
  if (number < 0) return null;
  const { values } = await loadChunk(`responses-${number}`);
  const verdicts = new Map();
  values.question.forEach((question, row) => {
    if (!verdicts.has(`${question}`)) verdicts.set(`${question}`, values.correct[row]);
    verdicts.set(`${question} ${values.sample[row]}`, values.correct[row]);
  });
  return verdicts;
}

function partOf(bounds, row) {
  let [low, high] = [0, bounds.length - 2];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (bounds[middle] <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

// Load the sentences of one part of a trace and label them.
async function loadSentences(trace, part) {
  if (trace.parts[part]) return;
  const { arrays } = await loadChunk(`sentences-${trace.number}-${part}`);
  const first = new Int32Array(arrays.counts.length + 1);
  arrays.counts.forEach((count, row) => (first[row + 1] = first[row] + count));
  trace.parts[part] = { arrays, first, labels: new Uint8Array(arrays.label.length), changed: 0 };
  labelPart(trace, part);
}

// Return where the sentences of a response lie: {part, arrays, labels, first, end}; null if they are not loaded yet.
function sentencesOf(trace, row) {
  const part = partOf(trace.set.bounds, row);
  const loaded = trace.parts[part];
  if (!loaded) return null;
  const place = row - trace.set.bounds[part];
  return { part, arrays: loaded.arrays, labels: loaded.labels, first: loaded.first[place], end: loaded.first[place + 1] };
}

const alphaOf = (trace) => (state.alpha < 0 ? trace.about.alpha : state.alpha);
const betaOf = (trace) => (state.beta < 0 ? trace.about.beta : state.beta);
const thresholdsOf = (trace) => ({ alpha: alphaOf(trace), beta: betaOf(trace), rule: trace.about.rule });

function labelPart(trace, part) {
  const thresholds = thresholdsOf(trace);
  const { arrays, first, labels } = trace.parts[part];
  const { p_teacher, p_student, p_distilled, label } = arrays;
  const { shift } = trace.about;
  const base = trace.set.bounds[part];
  let changed = 0;
  for (let place = 0; place + 1 < first.length; place++) {
    const row = base + place;
    const counts = trace.counts.subarray(row * LABELS.length, (row + 1) * LABELS.length).fill(0);
    let doubts = 0;
    for (let i = first[place]; i < first[place + 1]; i++) {
      const [t, s, d] = [p_teacher[i], p_student[i], p_distilled[i]];
      labels[i] = labelOf(t, s, d, thresholds);
      counts[labels[i]]++;
      if (labels[i] !== label[i]) changed++;
      if (shift !== null && isDoubtful(margins(t, s, d, thresholds), shift)) doubts++;
    }
    trace.doubts[row] = doubts;
  }
  trace.parts[part].changed = changed;
}

// Label all loaded sentences again, for other thresholds.
function relabel(trace) {
  trace.parts.forEach((part, number) => part && labelPart(trace, number));
}

// Return, over the loaded sentences: their number, that of each label, and how many differ from the run's own labels.
function totals(trace) {
  const labels = new Array(LABELS.length).fill(0);
  trace.counts.forEach((value, i) => (labels[i % LABELS.length] += value));
  const changed = trace.parts.reduce((sum, part) => sum + (part ? part.changed : 0), 0);
  return { sentences: labels.reduce((a, b) => a + b, 0), labels, changed };
}

// Return the share of each label at each position, for right and for wrong responses: {right, wrong}, each
// {reach: responses that reach the position, shares: one list for each label}.
function positionCurves(trace) {
  const curves = { right: { reach: [], labels: LABELS.map(() => []) }, wrong: { reach: [], labels: LABELS.map(() => []) } };
  for (let row = 0; row < trace.rows; row++) {
    const found = sentencesOf(trace, row);
    const correct = trace.responses.correct[row];
    if (!found || correct === null) continue;
    const { reach, labels } = curves[correct ? "right" : "wrong"];
    for (let i = found.first; i < found.end; i++) {
      const position = i - found.first;
      reach[position] = (reach[position] ?? 0) + 1;
      const counts = labels[found.labels[i]];
      counts[position] = (counts[position] ?? 0) + 1;
    }
  }
  return curves;
}

function labelShare(trace, row, label) {
  const counts = trace.counts.subarray(row * LABELS.length, (row + 1) * LABELS.length);
  const all = counts.reduce((a, b) => a + b, 0);
  return all ? counts[label] / all : 0;
}

const questionNumber = (trace, row) => trace.responses.question[row] + 1;

// Return whether a response is right, and the student's answer of the same number, or else its first one, is wrong.
function isGained(trace, row) {
  const { question, sample, correct } = trace.responses;
  if (correct[row] !== true || !trace.student) return false;
  const name = `${question[row]} ${sample[row]}`;
  return trace.student.get(trace.student.has(name) ? name : `${question[row]}`) === false;
}
