// Shared by every chart: colours of the page's theme, numbers in words, small elements.
// Text of a run reaches the page through textContent and fillText only, never as markup.
const root = document.documentElement;
const KINDS = {};

const colour = name => getComputedStyle(root).getPropertyValue("--" + name).trim() || "#888888";

function element(tag, kind, text) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

const digits = (value, most) =>
  Number(value.toPrecision(most)).toLocaleString("en", {maximumFractionDigits: 12});

// Three digits in the largest unit of which there is at least `least`.
function scaled(value, steps, least) {
  if (value === 0) return "0 " + steps[steps.length - 1][1];
  const found = steps.find(([size]) => Math.abs(value) >= least * size) || steps[steps.length - 1];
  return digits(value / found[0], 3) + " " + found[1];
}

const TIMES = [[31557600, "years"], [86400, "days"], [3600, "h"], [60, "min"], [1, "s"]];
const SIZES = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "bytes"]];
const ENERGIES = [[3.6e9, "MWh"], [3.6e6, "kWh"], [3600, "Wh"], [1, "J"]];

const FORMAT = {
  s: value => scaled(value, TIMES, 2),
  bytes: value => scaled(value, SIZES, 1),
  j: value => scaled(value, ENERGIES, 1),
  percent: value => digits(value, 3) + "%",
  count: value => digits(value, 6),
  number: value => digits(value, 4),
};

// Ticks of a logarithmic axis: powers of ten, and their doubles and fives where there are few.
function logTicks(low, high) {
  const wide = Math.log10(high / low);
  const steps = wide > 2.2 ? [1] : wide > 0.8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 6, 8];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const step of steps) {
      const at = step * 10 ** power;
      if (at >= low && at <= high) ticks.push(at);
    }
  return ticks;
}

// Ticks of a time axis whose positions are powers of ten of a second: times that people know.
const KNOWN_TIMES = [1, 10, 60, 600, 3600, 21600, 86400, 604800, 2592000, 31557600, 315576000].map(Math.log10);
const timeTicks = (low, high) => {
  const known = KNOWN_TIMES.filter(at => at >= low && at <= high);
  if (known.length > 1) return known;
  return [0.02, 0.35, 0.68, 0.98].map(part => low + part * (high - low));
};

// Sizes as labels; of those along the bottom only such as have room beside the one before.
function spaced(splits, place) {
  let end = -Infinity;
  return splits.map(value => {
    if (place && place(value) < end + 54) return "";
    if (place) end = place(value);
    return FORMAT.bytes(value);
  });
}

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

// Runs `draw` on a chart's canvas in CSS pixels, clipped to the plotting area unless told not to.
function paint(u, draw, clipped = true) {
  const ctx = u.ctx, ratio = uPlot.pxRatio;
  ctx.save();
  if (clipped) {
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
  }
  ctx.scale(ratio, ratio);
  ctx.font = FONT;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  draw(ctx, {
    left: u.bbox.left / ratio, top: u.bbox.top / ratio,
    width: u.bbox.width / ratio, height: u.bbox.height / ratio,
    x: value => u.valToPos(value, "x", true) / ratio,
    y: value => u.valToPos(value, "y", true) / ratio,
  });
  ctx.restore();
}

function dashed(ctx, x0, y0, x1, y1) {
  ctx.strokeStyle = colour("ink");
  ctx.lineWidth = 1;
  ctx.setLineDash([5, 3]);
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
  ctx.setLineDash([]);
}

function shorten(ctx, text, room) {
  if (ctx.measureText(text).width <= room) return text;
  let cut = text;
  while (cut.length > 1 && ctx.measureText(cut + "…").width > room) cut = cut.slice(0, -1);
  return cut + "…";
}
