// The data of the page: the index that stands in it, and chunks, in the page or in files beside it.
// docs/explorer.md describes the format.

const INDEX = JSON.parse(document.getElementById("index").textContent);
const ARRAY_TYPES = { f64: Float64Array, i32: Int32Array, u8: Uint8Array };
const LARGE = /^(texts|tokens|evidence|leans)-/; // kept only while they are in use
const MOST_LARGE = 12;

const chunks = new Map();
const arriving = new Map();

// Return a promise of the chunk of this name: {values, arrays}.
function loadChunk(name) {
  let chunk = chunks.get(name);
  if (chunk) chunks.delete(name); // and put last: the longest unused goes first
  else chunk = fetchBase64(name).then(unpackChunk);
  chunks.set(name, chunk);
  chunk.catch(() => chunks.delete(name));
  const large = [...chunks.keys()].filter((other) => LARGE.test(other));
  large.slice(0, -MOST_LARGE).forEach((other) => chunks.delete(other));
  return chunk;
}

function fetchBase64(name) {
  const inPage = document.querySelector(`script.chunk[data-name="${CSS.escape(name)}"]`);
  if (inPage) return Promise.resolve(inPage.textContent);
  if (INDEX.inline) return Promise.reject(new Error(`the page holds no chunk ${name}`));
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `explorer/${encodeURIComponent(name)}.js`;
    arriving.set(name, resolve);
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      arriving.delete(name);
      reject(new Error(`explorer/${name}.js could not be read: the folder "explorer" has to lie beside this page`));
    };
    document.head.append(script);
  });
}

// What the files beside the page call.
window.distraceChunk = (name, base64) => {
  arriving.get(name)?.(base64);
  arriving.delete(name);
};

async function unpackChunk(base64) {
  const packed = Uint8Array.from(atob(base64.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = await new Response(stream).arrayBuffer();
  const headLength = new DataView(bytes).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, headLength)));
  const arrays = {};
  let offset = aligned(4 + headLength);
  for (const { name, type, length } of head.arrays) {
    arrays[name] = new ARRAY_TYPES[type](bytes, offset, length);
    offset = aligned(offset + arrays[name].byteLength);
  }
  return { values: head.values, arrays };
}

function aligned(offset) {
  return Math.ceil(offset / 8) * 8;
}
