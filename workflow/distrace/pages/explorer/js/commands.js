// Everything that can be done: each has a key, a button in a place of the page, and a line on the page of keys.

const VIEWS = { responses: "Responses", question: "One question", candidates: "Candidates", search: "Search", keys: "Keys" };

const toggle = (name) => () => update({ [name]: !state[name] });
const isOn = (name) => () => state[name];
const view = (name) => ({ place: "views", name: VIEWS[name], run: () => update({ view: name }), on: () => state.view === name });
const byLabel = (label) => () => moveInResponse(1, (span) => span.dataset.label === label);

const COMMANDS = [
  { key: "r", ...view("responses") },
  { key: "o", ...view("question") },
  { key: "c", ...view("candidates") },
  { key: "s", ...view("search"), run: () => update({ view: "search" }).then(() => byId("search").focus()) },
  { key: "?", ...view("keys") },
  { key: "y", place: "tools", name: "Copy link", run: copyLink },
  { key: "e", place: "tools", name: "Export CSV", run: () => exportShown("csv") },
  { key: "E", place: "tools", name: "Export JSON", run: () => exportShown("json") },
  { key: "x", place: "tools", name: "Dark or light", run: () => update({ theme: isDark() ? "light" : "dark" }) },
  { key: "[", place: "alpha-less", name: "Lower alpha", short: "−", run: () => moveThreshold("alpha", -0.01) },
  { key: "]", place: "alpha-more", name: "Raise alpha", short: "+", run: () => moveThreshold("alpha", 0.01) },
  { key: "{", place: "beta-less", name: "Lower beta", short: "−", run: () => moveThreshold("beta", -0.01) },
  { key: "}", place: "beta-more", name: "Raise beta", short: "+", run: () => moveThreshold("beta", 0.01) },
  { key: "0", place: "thresholds-tools", name: "Back to the run's own", run: () => update({ alpha: -1, beta: -1 }) },
  { key: "k", place: "list-tools", name: "Response before", short: "↑", run: () => moveInList(current, -1) },
  { key: "j", place: "list-tools", name: "Next response", short: "↓", run: () => moveInList(current, 1) },
  { key: "g", place: "list-tools", name: "First response", short: "⤒", run: () => moveInList(current, -Infinity) },
  { key: "G", place: "list-tools", name: "Last response", short: "⤓", run: () => moveInList(current, Infinity) },
  { key: "/", place: "list-tools", name: "Filter by text", run: () => byId("find").focus() },
  { key: "w", place: "list-tools", name: "Distilled right, student wrong", run: toggle("gained"), on: isOn("gained") },
  { key: "u", place: "list-tools", name: "With doubtful sentences", run: toggle("doubtful"), on: isOn("doubtful") },
  { key: "v", place: "list-tools", name: "Turn the order round", run: toggle("down"), on: isOn("down") },
  { key: "z", place: "list-tools", name: "No filters", run: () => update(NO_FILTERS) },
  { key: "p", place: "text-tools", name: "Sentence before", short: "←", run: () => moveInResponse(-1) },
  { key: "n", place: "text-tools", name: "Next sentence", short: "→", run: () => moveInResponse(1) },
  { key: "d", place: "text-tools", name: "Next doubtful", run: () => moveInResponse(1, (span) => span.classList.contains("doubtful")) },
  ...INDEX.labels.map(({ name }, number) => ({ key: String(number + 1), place: "text-tools", name: `Next ${name}`, run: byLabel(name) })),
  { key: "t", place: "text-tools", name: "Tokens", run: toggle("tokens"), on: isOn("tokens") },
  { key: "m", place: "text-tools", name: "Formulas", run: toggle("math"), on: isOn("math") },
  { key: "l", place: "text-tools", name: "Plain text", run: toggle("plain"), on: isOn("plain") },
  { key: "h", place: "question-tools", name: "Question before", run: () => stepQuestion(-1) },
  { key: "i", place: "question-tools", name: "Next question", run: () => stepQuestion(1) },
];

const NO_FILTERS = { find: "", correct: "", label: "", share: 0, gained: false, doubtful: false, sort: "order", down: false };

function stepQuestion(step) {
  return state.view === "candidates" ? moveInPool(step) : moveToQuestion(current, step);
}

function placeButtons() {
  for (const command of COMMANDS) {
    const label = command.short
      ? { "aria-label": command.name, title: `${command.name} (${command.key})` }
      : { title: `key ${command.key}` };
    command.button = element(
      "button",
      { type: "button", onclick: () => run(command), "aria-keyshortcuts": command.key, ...label },
      command.short ?? command.name,
    );
    byId(command.place).append(command.button);
  }
}

// Say on every button that can be on whether it is.
function markButtons() {
  for (const { on, button } of COMMANDS) if (on) button.setAttribute("aria-pressed", String(on()));
}

const WITHOUT_TRACE = ["views", "tools", "question-tools"];

async function run(command) {
  if (!current && !WITHOUT_TRACE.includes(command.place)) return say("no trace is open");
  try {
    await command.run();
  } catch (error) {
    fail(error);
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return event.target.blur();
  if (event.target.matches("input:not([type=range]), select, textarea")) return;
  const command = COMMANDS.find(({ key }) => key === event.key);
  if (!command) return;
  event.preventDefault();
  run(command);
}

function moveThreshold(name, by) {
  const now = name === "alpha" ? alphaOf(current) : betaOf(current);
  update({ [name]: Math.min(Math.max(Number((now + by).toFixed(4)), 0), 1) });
}

async function copyLink() {
  const address = location.href;
  try {
    await navigator.clipboard.writeText(address);
  } catch {
    const box = element("textarea", { value: address, "aria-label": "address" });
    document.body.append(box);
    box.select();
    document.execCommand("copy"); // where a page from disk may not use the clipboard
    box.remove();
  }
  say("the link is copied");
}

function drawKeys() {
  const rows = COMMANDS.map(({ key, name }) =>
    element("tr", {}, element("td", {}, element("kbd", {}, key)), element("td", {}, name)),
  );
  byId("keys-body").replaceChildren(element("table", {}, element("tbody", {}, ...rows)));
}
