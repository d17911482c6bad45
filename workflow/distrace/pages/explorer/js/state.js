// What is looked at. All of it stands in the address, after the #, so that a link brings it back.

const DEFAULTS = {
  view: "responses",
  trace: "",
  response: "",
  sentence: -1,
  alpha: -1, // below 0: the run's own
  beta: -1,
  find: "",
  correct: "",
  label: "",
  share: 0, // least share of the label, in percent
  gained: false,
  doubtful: false,
  sort: "order",
  down: false,
  question: "",
  sample: 0,
  pool: "",
  candidate: "",
  strategy: "",
  search: "",
  everywhere: false,
  tokens: false,
  math: false,
  plain: false,
  theme: "",
};

let state = { ...DEFAULTS };

function readAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  const read = {};
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    if (!found.has(name)) continue;
    const value = found.get(name);
    if (typeof usual === "string") read[name] = value;
    else if (typeof usual === "boolean") read[name] = value === "1";
    else if (value !== "" && Number.isFinite(Number(value))) read[name] = Number(value);
  }
  return { ...DEFAULTS, ...read };
}

// Return the address of a state that differs from the present one by `changes`.
function addressOf(changes = {}) {
  const written = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...state, ...changes })) {
    if (value !== DEFAULTS[name]) written.set(name, value === true ? "1" : value);
  }
  return `#${written}`;
}

function link(changes, ...children) {
  return element("a", { href: addressOf(changes) }, ...children);
}
