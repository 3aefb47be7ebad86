// Latency and throughput over the same window of time as the timeline, faults shaded.
const latency = document.getElementById('latency');
const rate = document.getElementById('rate');
const LATENCY = 190;
const RATE = 130;
let quantiles = null;
let quantileTimer = 0;
const slowest = (() => { let most = 1000; for (let i = 0; i < N; i++) if (ops.took_us[i] > most) most = ops.took_us[i]; return most * 1.3; })();
const quickest = (() => { let least = slowest; for (let i = 0; i < N; i++) if (ops.took_us[i] > 0 && ops.took_us[i] < least) least = ops.took_us[i]; return Math.max(10, least * 0.7); })();

const logTook = new Float32Array(N);                     // the logarithm of every latency, taken once
for (let i = 0; i < N; i++) logTook[i] = Math.log10(Math.max(ops.took_us[i], quickest));

function shadeFaults(pen, width, height) {
  for (const { fault, end } of bands) {
    if (!fault.landed) continue;
    const x0 = Math.max(gutter(), xOf(fault.start, width));
    const x1 = Math.min(width, xOf(end, width));
    if (x1 <= x0) continue;
    pen.globalAlpha = 0.14;
    pen.fillStyle = ink.fault;
    pen.fillRect(x0, 0, x1 - x0, height);
    pen.globalAlpha = 1;
    pen.fillStyle = ink.muted;
    const text = fits(pen, fault.name, x1 - x0 - 6);
    if (text) pen.fillText(text, x0 + 4, 8);
  }
}

function paintLatency() {
  const { pen, width } = prepare(latency, LATENCY);
  const left = gutter();
  const bottom = LATENCY - 18;
  shadeFaults(pen, width, bottom);
  axis(pen, left, width, 0, bottom, bottom + 10);
  const low = Math.log10(quickest);
  const span = Math.log10(slowest) - low;
  const yOf = (us) => bottom - (Math.log10(Math.max(us, quickest)) - low) / span * (bottom - 14);
  pen.strokeStyle = ink.line;
  for (let p = Math.ceil(low); p <= low + span; p++) {
    const y = Math.round(yOf(10 ** p)) + 0.5;
    pen.beginPath(); pen.moveTo(left, y); pen.lineTo(width, y); pen.stroke();
    pen.fillStyle = ink.muted;
    pen.fillText({ 1: '10 µs', 2: '0.1 ms', 3: '1 ms', 4: '10 ms', 5: '0.1 s', 6: '1 s', 7: '10 s' }[p] || '', 4, y);
  }
  const columns = Math.ceil((width - left) / 2);
  const cells = new Uint8Array(columns * LATENCY);      // one mark for each two pixels, however many operations
  const scale = columns / (view.t1 - view.t0);
  const rise = (bottom - 14) / span;
  const dots = [[], [], []];
  const { call_us, took_us, outcome } = ops;
  const { mask, t0, t1 } = view;
  for (let i = firstCall(t0); i < N && call_us[i] <= t1; i++) {
    if (!mask[i] || took_us[i] < 0) continue;
    const x = ((call_us[i] - t0) * scale) | 0;
    const y = (bottom - (logTook[i] - low) * rise) & ~1;
    const bit = 1 << outcome[i];
    if (cells[x * LATENCY + y] & bit) continue;
    cells[x * LATENCY + y] |= bit;
    dots[outcome[i]].push(left + x * 2, y);
  }
  pen.fillStyle = ink.ok;
  pen.globalAlpha = 0.5;
  for (let k = 0; k < dots[0].length; k += 2) pen.fillRect(dots[0][k], dots[0][k + 1], 2, 2);
  pen.globalAlpha = 1;
  pen.strokeStyle = ink.fail;
  pen.lineWidth = 1.2;
  pen.beginPath();
  for (let k = 0; k < dots[1].length; k += 2) { const [x, y] = [dots[1][k], dots[1][k + 1]]; pen.moveTo(x - 2.5, y - 2.5); pen.lineTo(x + 2.5, y + 2.5); pen.moveTo(x + 2.5, y - 2.5); pen.lineTo(x - 2.5, y + 2.5); }
  pen.stroke();
  pen.fillStyle = ink.info;
  pen.beginPath();
  for (let k = 0; k < dots[2].length; k += 2) { const [x, y] = [dots[2][k], dots[2][k + 1]]; pen.moveTo(x, y - 4); pen.lineTo(x + 3.5, y + 3); pen.lineTo(x - 3.5, y + 3); pen.closePath(); }
  pen.fill();
  paintQuantiles(pen, width, yOf);
  clearTimeout(quantileTimer);
  if (!quantiles || quantiles.t0 !== view.t0 || quantiles.t1 !== view.t1) quantileTimer = setTimeout(() => { quantiles = countQuantiles(); redraw(); }, 140);
}

function countQuantiles() {
  const buckets = Array.from({ length: 60 }, () => []);
  const found = { t0: view.t0, t1: view.t1, p50: [], p99: [] };
  for (let i = firstCall(view.t0); i < N && ops.call_us[i] <= view.t1; i++) {
    if (view.mask[i] && ops.outcome[i] === 0) buckets[Math.min(59, Math.floor((ops.call_us[i] - view.t0) / (view.t1 - view.t0) * 60))].push(ops.took_us[i]);
  }
  buckets.forEach((bucket, b) => {
    if (bucket.length < 5) return;
    const sorted = Float64Array.from(bucket).sort();
    const t = view.t0 + (b + 0.5) / 60 * (view.t1 - view.t0);
    found.p50.push([t, sorted[Math.floor(sorted.length * 0.5)]]);
    found.p99.push([t, sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))]]);
  });
  return found;
}

function paintQuantiles(pen, width, yOf) {
  if (!quantiles) return;
  pen.strokeStyle = ink.ink;
  for (const [name, dash] of [['p50', []], ['p99', [5, 3]]]) {
    pen.setLineDash(dash);
    pen.lineWidth = 1.4;
    pen.beginPath();
    let before = -1;
    for (const [t, us] of quantiles[name]) {
      const x = xOf(t, width);
      if (before < 0) pen.moveTo(x, yOf(us)); else pen.lineTo(x, yOf(us));
      before = x;
    }
    pen.stroke();
  }
  pen.setLineDash([]);
}

function paintRate() {
  const { pen, width } = prepare(rate, RATE);
  const left = gutter();
  const bottom = RATE - 18;
  shadeFaults(pen, width, bottom);
  axis(pen, left, width, 0, bottom, bottom + 10);
  const bins = Math.max(1, Math.floor((width - left) / 6));
  const span = (view.t1 - view.t0) / bins;
  const counts = [0, 1, 2].map(() => new Float64Array(bins));
  for (let i = firstCall(view.t0); i < N && ops.call_us[i] < view.t1; i++) {
    if (view.mask[i]) counts[ops.outcome[i]][Math.min(bins - 1, Math.floor((ops.call_us[i] - view.t0) / span))]++;
  }
  const most = Math.max(1, ...counts[0], ...counts[1], ...counts[2]);
  const perSecond = 1e6 / span;
  pen.fillStyle = ink.muted;
  pen.fillText(`${Math.round(most * perSecond).toLocaleString('en')}/s`, 4, 14);
  pen.fillText('0', 4, bottom - 3);
  [[0, ink.ok, []], [1, ink.fail, [2, 2]], [2, ink.info, [6, 3]]].forEach(([o, colour, dash]) => {
    pen.strokeStyle = colour;
    pen.lineWidth = 1.6;
    pen.setLineDash(dash);
    pen.beginPath();
    for (let b = 0; b < bins; b++) {
      const y = bottom - counts[o][b] / most * (bottom - 14);
      if (b === 0) pen.moveTo(left, y); else pen.lineTo(left + b * 6, y);
      pen.lineTo(left + (b + 1) * 6, y);
    }
    pen.stroke();
  });
  pen.setLineDash([]);
}
