// One response: every sentence in its label's colour, its tokens on demand, and mathematics on demand.

let open = null; // {trace, row, found, text, offsets, spans}

// Return the open response with its text and its sentences, or null if it has none.
async function readResponse(trace, row) {
  const part = partOf(trace.set.bounds, row);
  const [texts] = await Promise.all([
    loadChunk(`texts-${trace.about.rollouts}-${part}`),
    loadSentences(trace, part),
  ]);
  const text = texts.values.texts[row - trace.set.bounds[part]];
  return { trace, row, found: sentencesOf(trace, row), text, offsets: codePointOffsets(text), spans: [] };
}

// Put a response into `box`; unlabelled stretches (rejected sentences) are kept and marked.
function drawText(response, box) {
  const { found, text, offsets } = response;
  const { number, start, end } = found.arrays;
  const pieces = [];
  let reached = 0;
  const answer = response.trace.responses.answer_start[response.row];
  const length = offsets ? offsets.length - 1 : text.length;
  const between = (upTo) => {
    if (upTo > reached) pieces.push(element("span", { className: "unlabelled", title: "not labelled" }, ...piece(slice(text, offsets, reached, upTo))));
  };
  for (let i = found.first; i < found.end; i++) {
    between(start[i]);
    if (answer > 0 && reached < answer && start[i] >= answer) pieces.push(answerMark());
    const [body, lineEnds] = withoutLineEnds(slice(text, offsets, start[i], end[i]));
    const span = element(
      "span",
      { className: "sentence", tabIndex: -1, onclick: () => update({ sentence: number[i] }) },
      ...piece(body),
    );
    span.dataset.sentence = number[i];
    response.spans.push(span);
    pieces.push(span, lineEnds);
    reached = end[i];
  }
  between(length);
  box.replaceChildren(...pieces);
  markSentences(response);
}

// Return a sentence and the line ends after it, which stand outside of its box; one of line ends alone stays whole.
function withoutLineEnds(sentence) {
  const body = sentence.replace(/\n+$/, "");
  return body ? [body, sentence.slice(body.length)] : [sentence, ""];
}

function answerMark() {
  return element("span", { className: "answer-mark" }, "answer");
}

// Return the text of a sentence as nodes: plain, or with its formulas rendered.
function piece(text) {
  return state.math ? withFormulas(text) : [visible(text)];
}

const FORMULA = /\$\$([^$]+)\$\$|\\\[([\s\S]+?)\\\]|\$([^$\n]+)\$|\\\(([\s\S]+?)\\\)/g;

// Formulas that reach over the end of a sentence stay text.
function withFormulas(text) {
  const nodes = [];
  let reached = 0;
  for (const match of text.matchAll(FORMULA)) {
    const [whole, display, bracketed, inline, parenthesised] = match;
    const box = element("span", { className: "formula", title: whole });
    try {
      temml.render(display ?? bracketed ?? inline ?? parenthesised, box, {
        displayMode: (display ?? bracketed) !== undefined,
        maxExpand: 200,
        maxSize: [20, 200],
      });
    } catch {
      box.textContent = visible(whole); // not TeX: shown as it is
    }
    nodes.push(visible(text.slice(reached, match.index)), box);
    reached = match.index + whole.length;
  }
  return [...nodes, visible(text.slice(reached))];
}

// Give each sentence of a drawn response the marks of its label: colour, letter, hatching, lines over and under it.
function markSentences(response) {
  const { trace, found, spans } = response;
  const { p_teacher, p_student, p_distilled, label_float32 } = found.arrays;
  const thresholds = thresholdsOf(trace);
  spans.forEach((span, place) => {
    const i = found.first + place;
    const label = LABELS[found.labels[i]];
    const margin = margins(p_teacher[i], p_student[i], p_distilled[i], thresholds);
    span.dataset.label = label;
    span.dataset.letter = LETTERS[label];
    span.classList.toggle("doubtful", isDoubtful(margin, trace.about.shift) || flips(label_float32, found, i));
    span.classList.toggle("moved", found.labels[i] !== found.arrays.label[i]);
    span.style.setProperty("--over", p_teacher[i].toFixed(3));
    span.style.setProperty("--under", p_student[i].toFixed(3));
    span.title = `${label}: teacher ${fixed(p_teacher[i])}, student ${fixed(p_student[i])}, distilled ${fixed(p_distilled[i])}`;
  });
  markChosen(response);
}

const flips = (inFloat32, found, i) => Boolean(inFloat32) && inFloat32[i] < 255 && inFloat32[i] !== found.arrays.label[i];

function markChosen(response) {
  const chosen = chosenPlace(response);
  response.spans.forEach((span, place) => {
    span.classList.toggle("chosen", place === chosen);
    if (place === chosen) span.setAttribute("aria-current", "true");
    else span.removeAttribute("aria-current");
  });
  if (chosen >= 0) response.spans[chosen].scrollIntoView({ block: "nearest" });
}

// Return the place of the sentence in focus among the labelled ones of a response, or -1.
function chosenPlace(response) {
  const { found } = response;
  for (let i = found.first; i < found.end; i++) if (found.arrays.number[i] === state.sentence) return i - found.first;
  return -1;
}

// Focus the next sentence, `step` 1 or -1, that fits; the first or last one if none is in focus.
function moveInResponse(step, fits = () => true) {
  if (!open) return;
  const { found } = open;
  const number = found.end - found.first;
  const chosen = chosenPlace(open);
  let place = chosen < 0 ? (step > 0 ? 0 : number - 1) : chosen + step;
  while (place >= 0 && place < number && !fits(open.spans[place])) place += step;
  if (place >= 0 && place < number) update({ sentence: found.arrays.number[found.first + place] });
  else say("no further sentence of that kind in this response");
}

function responseSummary(response) {
  const { trace, row } = response;
  const { correct, tokens, extracted, reason, finish, sample } = trace.responses;
  const number = response.found.end - response.found.first;
  const parts = [
    `Answer ${sample[row] + 1}: ${verdict(correct[row])}`,
    extracted[row] === null ? null : `says ${visible(extracted[row])}`,
    correct[row] === null && reason[row] ? visible(reason[row]) : null,
    tokens[row] === null ? null : count(tokens[row], "token"),
    count(number, "labelled sentence"),
    { length: "cut off at its longest", imported: "given" }[finish[row]] ?? null,
  ];
  return parts.filter(Boolean).join(" · ");
}
