// The label rule, the same as in measures/labels.py (arXiv 2512.20908, section 3), and how near a label is to another.

const LABELS = INDEX.labels.map((label) => label.name);
const LETTERS = Object.fromEntries(INDEX.labels.map((label) => [label.name, label.letter]));
const [TEACHER, STUDENT, SHARED, BOOSTED] = ["Teacher", "Student", "Shared", "Boosted"].map((l) => LABELS.indexOf(l));
const ROLES = ["teacher", "student", "distilled"];

function labelOf(teacher, student, distilled, alpha, beta) {
  const shared =
    Math.abs(student - distilled) <= alpha &&
    Math.abs(teacher - distilled) <= alpha &&
    Math.abs(teacher - student) <= alpha;
  if (shared) return SHARED;
  if (teacher - student > beta) return TEACHER;
  if (student - teacher > beta) return STUDENT;
  return BOOSTED;
}

// Return how far the probabilities lie from the thresholds: `alpha` below 0 means Shared, `beta` above 0 that the
// difference of teacher and student is large enough for Teacher or Student.
function margins(teacher, student, distilled, alpha, beta) {
  const largest = Math.max(
    Math.abs(student - distilled),
    Math.abs(teacher - distilled),
    Math.abs(teacher - student),
  );
  return { alpha: largest - alpha, beta: Math.abs(teacher - student) - beta };
}

// Return whether a change of the differences by `shift`, that of another number format, could change the label.
function isDoubtful(margin, shift) {
  if (shift === null) return false;
  const nearest = margin.alpha <= 0 ? -margin.alpha : Math.min(margin.alpha, Math.abs(margin.beta));
  return nearest < shift;
}
