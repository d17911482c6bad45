// The label rules, the same as in measures/labels.py (arXiv 2512.20908, section 3), and how near a label is to another.

const LABELS = INDEX.labels.map((label) => label.name);
const LETTERS = Object.fromEntries(INDEX.labels.map((label) => [label.name, label.letter]));
const [TEACHER, STUDENT, SHARED, BOOSTED] = ["Teacher", "Student", "Shared", "Boosted"].map((l) => LABELS.indexOf(l));
const ROLES = ["teacher", "student", "distilled"];

function labelOf(teacher, student, distilled, { alpha, beta, rule }) {
  if (rule === "raised") {
    if (distilled - student > alpha) return teacher - student > beta ? TEACHER : BOOSTED;
    return student - teacher > beta ? STUDENT : SHARED;
  }
  const shared =
    Math.abs(student - distilled) <= alpha &&
    Math.abs(teacher - distilled) <= alpha &&
    Math.abs(teacher - student) <= alpha;
  if (shared) return SHARED;
  if (teacher - student > beta) return TEACHER;
  if (student - teacher > beta) return STUDENT;
  return BOOSTED;
}

// Return how far the probabilities lie from the thresholds, and from another label (`nearest`). By the paper's rule, `alpha`
// below 0 means Shared, and `beta` above 0 that the difference of teacher and student is large enough for Teacher or
// Student. By `raised`, `alpha` above 0 means that the distillation raised the sentence.
function margins(teacher, student, distilled, { alpha, beta, rule }) {
  if (rule === "raised") {
    const raised = distilled - student - alpha;
    const likelier = (raised > 0 ? teacher - student : student - teacher) - beta;
    return { alpha: raised, beta: likelier, nearest: Math.min(Math.abs(raised), Math.abs(likelier)) };
  }
  const largest = Math.max(
    Math.abs(student - distilled),
    Math.abs(teacher - distilled),
    Math.abs(teacher - student),
  );
  const margin = { alpha: largest - alpha, beta: Math.abs(teacher - student) - beta };
  return { ...margin, nearest: margin.alpha <= 0 ? -margin.alpha : Math.min(margin.alpha, Math.abs(margin.beta)) };
}

// Return whether a change of the differences by `shift`, that of another number format, could change the label.
function isDoubtful(margin, shift) {
  return shift !== null && margin.nearest < shift;
}
