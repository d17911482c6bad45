// The sentence in focus: its probabilities, how near its label is to another, its true origin, tokens and evidence.

async function drawPanel(response) {
  const box = byId("panel-body");
  const place = response ? chosenPlace(response) : -1;
  if (place < 0) {
    box.replaceChildren(element("p", { className: "note" }, "Click a sentence, or press n, to see its numbers here."));
    return;
  }
  const i = response.found.first + place;
  const asked = `${response.trace.number} ${response.row} ${i} ${state.tokens}`;
  box.dataset.asked = asked;
  const parts = [sentenceText(response, i), labelLine(response, i), probabilityTable(response, i), marginLine(response, i)];
  box.replaceChildren(...parts);
  const later = await Promise.all([state.tokens ? tokenTables(response, i) : null, evidence(response, i)]);
  if (box.dataset.asked === asked) box.replaceChildren(...parts, ...later.filter(Boolean));
}

function sentenceText({ found, text, offsets }, i) {
  const { start, end } = found.arrays;
  return element("blockquote", {}, isolated(slice(text, offsets, start[i], end[i]).trim()));
}

function labelChip(label) {
  return element("span", { className: "chip", "data-label": label }, `${LETTERS[label]} ${label}`);
}

function labelLine({ trace, found }, i) {
  const { label, origin, label_float32, number } = found.arrays;
  const line = element("p", {}, `Sentence ${number[i]}: `, labelChip(LABELS[found.labels[i]]));
  if (label[i] !== found.labels[i]) line.append(" in the run: ", labelChip(LABELS[label[i]]));
  if (label_float32 && label_float32[i] < 255) {
    const same = label_float32[i] === label[i];
    line.append(same ? " the same in float32" : " in float32: ", same ? "" : labelChip(LABELS[label_float32[i]]));
  }
  if (origin) line.append(element("span", { className: "origin" }, ` true origin: ${INDEX.origins[origin[i]]}`));
  return line;
}

function probabilityTable({ trace, found }, i) {
  const names = { teacher: trace.about.teacher, student: trace.about.student, distilled: trace.about.distilled };
  const rows = ROLES.map((role) => {
    const p = found.arrays[`p_${role}`][i];
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, role, element("span", { className: "note" }, ` ${names[role]}`)),
      element("td", { className: "number" }, fixed(p, 4)),
      element("td", {}, element("span", { className: `bar ${role}`, style: { width: `${100 * p}%` } })),
      element("td", { className: "number" }, String(found.arrays[`tokens_${role}`][i])),
    );
  });
  const head = ["model", "probability", "", "tokens"].map((name) => element("th", { scope: "col" }, name));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

function marginLine({ trace, found }, i) {
  const { p_teacher, p_student, p_distilled } = found.arrays;
  const margin = margins(p_teacher[i], p_student[i], p_distilled[i], thresholdsOf(trace));
  const { shift } = trace.about;
  const byRaise = trace.about.rule === "raised";
  const likelier = !byRaise ? "|teacher − student|" : margin.alpha > 0 ? "teacher − student" : "student − teacher";
  const parts = [
    `${byRaise ? "distilled − student" : "largest difference"} ${signed(margin.alpha)} from alpha`,
    `${likelier} ${signed(margin.beta)} from beta`,
  ];
  if (shift !== null) {
    parts.push(`another number format moves differences by up to ${fixed(shift)} (99 % of them)`);
    if (isDoubtful(margin, shift)) parts.push("so this label is in doubt");
  }
  return element("p", { className: "note" }, parts.join("; "));
}

// Return the tokens of the sentence under each model, with their log-probs, as far as 8 bits show them.
async function tokenTables(response, i) {
  const { trace, row, found, text, offsets } = response;
  if (!trace.about.has_tokens) return element("p", { className: "note" }, "The tokens of this trace are not held here.");
  const { arrays } = await loadChunk(`tokens-${trace.number}-${found.part}`);
  const place = row - trace.set.bounds[found.part];
  const [start, end] = [found.arrays.start[i], found.arrays.end[i]];
  const rows = ROLES.map((role) => {
    const tokens = tokensBetween(arrays, role, place, start, end).map(([from, to, logprob]) =>
      element(
        "span",
        {
          className: "token",
          title: `log-prob ${fixed(logprob, 2)}, probability ${fixed(Math.exp(logprob))}`,
          style: { "--surprise": Math.min(-logprob / 6, 1).toFixed(2) },
        },
        visible(slice(text, offsets, from, to)),
        element("small", {}, fixed(logprob, 2)),
      ),
    );
    return element("div", { className: "tokens" }, element("b", {}, role), ...tokens);
  });
  return element("section", { "aria-label": "tokens" }, element("h3", {}, "Tokens"), ...rows);
}

// Return [start, end, log-prob] of the tokens that have most of their characters between `start` and `end`.
function tokensBetween(arrays, role, place, start, end) {
  const counts = arrays[`counts_${role}`];
  let first = 0;
  for (let row = 0; row < place; row++) first += counts[row];
  const found = [];
  let from = 0;
  for (let k = first; k < first + counts[place]; k++) {
    from += arrays[`starts_${role}`][k];
    const to = from + arrays[`lengths_${role}`][k];
    const middle = (from + to) / 2;
    if (middle > start && middle <= end) found.push([from, to, -25 * (arrays[`logprobs_${role}`][k] / 255) ** 2]);
  }
  return found;
}

// Return where the sentence, or a part of it, stands in the training data, and in the student's own answers.
async function evidence(response, i) {
  const { trace, found } = response;
  if (!trace.about.has_evidence) return null;
  const { values } = await loadChunk(`evidence-${trace.number}-${found.part}`);
  const of = (prefix) => (name) => values[prefix + name][i];
  return element(
    "section",
    { "aria-label": "evidence" },
    element("h3", {}, "In the training data"),
    ...evidenceLines(response, of(""), "training response"),
    element("h3", {}, "In the student's own answers, as a control"),
    ...evidenceLines(response, of("control_"), "answer of the student", "answers of the student"),
  );
}

function evidenceLines({ text, offsets }, of, one, many = `${one}s`) {
  const lines = [];
  if (of("words")) {
    const stretch = slice(text, offsets, of("stretch_start"), of("stretch_end")).trim();
    const size = of("whole") ? "The whole sentence" : count(of("words"), "word");
    lines.push(
      element("p", {}, `${size} word for word, in ${count(of("responses"), one, many)}: `, isolated(stretch, { className: "stretch" })),
      element("p", { className: "note" }, "First in ", ...place(of, "source"), "."),
    );
  } else lines.push(element("p", {}, "Not a word of it."));
  if (of("similar_rollout_id")) {
    lines.push(
      element("p", {}, `Most similar sentence (${fixed(of("similarity"), 2)}): `, isolated(of("similar_text"), { className: "stretch" })),
      element("p", { className: "note" }, "In ", ...place(of, "similar"), "."),
    );
  }
  return lines;
}

function place(of, kind) {
  const id = of(`${kind}_rollout_id`);
  const name = `response ${id}, question ${of(`${kind}_question_id`)}, sentence ${of(`${kind}_sentence`)}`;
  const held = candidatePools.get(id);
  return held === undefined ? [name] : [link({ view: "candidates", pool: held, candidate: id, question: of(`${kind}_question_id`) }, name)];
}
