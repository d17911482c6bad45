// The strip of a response: a column for each sentence in its label's colour, below three lines of probability.

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function labelColours() {
  return LABELS.map((label) => colourOf(label.toLowerCase()));
}

// Return the drawing context of a canvas, cleared, in CSS pixels: {context, width, height}.
function blank(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  const context = canvas.getContext("2d");
  context.scale(devicePixelRatio, devicePixelRatio);
  return { context, width, height };
}

function drawThumbnail(canvas, found, colours) {
  const { context, width, height } = blank(canvas);
  if (!found) return;
  drawLabels(context, found, colours, width, 0, height);
}

// Labels differ in height too, so that they can be told apart without colour.
const HEIGHTS = { Teacher: 1, Student: 0.6, Shared: 0.25, Boosted: 0.8 };

function drawLabels(context, found, colours, width, top, height) {
  const number = found.end - found.first;
  for (let i = 0; i < number; i++) {
    const [from, to] = [Math.floor((i * width) / number), Math.max(Math.floor(((i + 1) * width) / number), 1)];
    const label = found.labels[found.first + i];
    const tall = height * HEIGHTS[LABELS[label]];
    context.fillStyle = colours[label];
    context.fillRect(from, top + height - tall, Math.max(to - from - (width > 4 * number ? 1 : 0), 1), tall);
  }
}

const BAND = 22; // of labels, below the lines
const DASHES = { teacher: [], student: [6, 3], distilled: [2, 2] };

function drawStrip(canvas, found, chosen) {
  const { context, width, height } = blank(canvas);
  if (!found || found.first === found.end) return;
  const number = found.end - found.first;
  const top = 4;
  const bottom = height - BAND - 6;
  context.strokeStyle = colourOf("line");
  for (const share of [0, 0.5, 1]) {
    const y = bottom - share * (bottom - top);
    context.strokeRect(0, Math.round(y) + 0.5, width, 0);
  }
  if (chosen >= 0) {
    context.fillStyle = colourOf("mark");
    context.fillRect((chosen * width) / number, 0, Math.max(width / number, 2), height);
  }
  for (const role of ROLES) {
    context.strokeStyle = colourOf(role === "distilled" ? "text" : role);
    context.setLineDash(DASHES[role]);
    context.lineWidth = 1.5;
    context.beginPath();
    for (let i = 0; i < number; i++) {
      const y = bottom - found.arrays[`p_${role}`][found.first + i] * (bottom - top);
      context.lineTo((i * width) / number, y);
      context.lineTo(((i + 1) * width) / number, y);
    }
    context.stroke();
  }
  drawLabels(context, found, labelColours(), width, height - BAND, BAND);
}

// Draw the share of each label by position, solid for right responses and dashed for wrong ones.
const FEWEST = 5; // a position that fewer responses reach is not drawn

function drawCurves(canvas, curves) {
  const { context, width, height } = blank(canvas);
  const reached = Math.max(...["right", "wrong"].map((kind) => curves[kind].reach.filter((n) => n >= FEWEST).length));
  context.strokeStyle = colourOf("line");
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
  if (reached < 2) return;
  const colours = labelColours();
  for (const [kind, dash] of [["right", []], ["wrong", [4, 3]]]) {
    const { reach, labels } = curves[kind];
    context.setLineDash(dash);
    labels.forEach((counts, label) => {
      context.strokeStyle = colours[label];
      context.lineWidth = 1.5;
      context.beginPath();
      for (let i = 0; i < reached && reach[i] >= FEWEST; i++) {
        const share = (counts[i] ?? 0) / reach[i];
        context.lineTo((i * width) / (reached - 1), (height - 4) * (1 - share) + 2);
      }
      context.stroke();
    });
  }
}
