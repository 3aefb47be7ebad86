// The strip above the timeline: the whole run at once, with the window to drag; and, drawn alike, its two plots below.
const strip = document.getElementById('overview');
const STRIP = 46;
let density = null;

function countDensity(width) {
  const bins = Math.max(1, Math.floor(width / 2));
  const found = { width, ok: new Float64Array(bins), rest: new Float64Array(bins), most: 1 };
  for (let i = 0; i < N; i++) {
    if (!view.mask[i]) continue;
    const bin = Math.min(bins - 1, Math.floor(ops.call_us[i] / END * bins));
    if (ops.outcome[i] === 0) found.ok[bin]++; else found.rest[bin]++;
  }
  const sums = found.ok.map((ok, b) => ok + found.rest[b]).sort();
  found.most = Math.max(1, sums[Math.floor(bins * 0.985)]);   // one burst must not flatten the rest
  return found;
}

function paintOverview() {
  const { pen, width, height } = prepare(strip, STRIP);
  const left = gutter();
  const room = width - left;
  const x = (t) => left + t / END * room;
  if (!density || density.width !== room) density = countDensity(room);
  pen.fillStyle = ink.muted;
  pen.fillText('all', 4, height / 2);
  for (const { fault, end } of bands) {
    if (!fault.landed) continue;
    pen.globalAlpha = 0.22;
    pen.fillStyle = ink.fault;
    pen.fillRect(x(fault.start), 0, Math.max(1, x(end) - x(fault.start)), height);
    pen.globalAlpha = 1;
  }
  const base = height - 2;
  for (let b = 0; b < density.ok.length; b++) {
    const ok = Math.min(1, density.ok[b] / density.most) * (height - 12);
    const rest = Math.min(1, density.rest[b] / density.most) * (height - 12);
    pen.fillStyle = ink.ok;
    pen.fillRect(left + b * 2, base - ok, 2, ok);
    pen.fillStyle = ink.info;
    if (rest) pen.fillRect(left + b * 2, base - ok - Math.max(rest, 1.5), 2, Math.max(rest, 1.5));
  }
  for (const anomaly of raw.anomalies) for (const row of anomaly.rows) {
    const at = x(ops.call_us[row]);
    pen.fillStyle = ink.accent;
    pen.beginPath(); pen.moveTo(at - 4, 0); pen.lineTo(at + 4, 0); pen.lineTo(at, 8); pen.fill();
  }
  for (const anomaly of raw.anomalies) for (const [t] of anomaly.moments) {
    pen.fillStyle = ink.accent;
    pen.beginPath(); pen.moveTo(x(t) - 4, 0); pen.lineTo(x(t) + 4, 0); pen.lineTo(x(t), 8); pen.fill();
  }
  const x0 = Math.max(left, x(view.t0));
  const x1 = Math.min(width, Math.max(x(view.t1), x0 + 3));
  pen.globalAlpha = 0.55;
  pen.fillStyle = ink.card;
  pen.fillRect(left, 0, x0 - left, height);
  pen.fillRect(x1, 0, width - x1, height);
  pen.globalAlpha = 1;
  pen.strokeStyle = ink.ink;
  pen.lineWidth = 1.5;
  pen.strokeRect(x0, 0.75, x1 - x0, height - 1.5);
}

let grip = null;
strip.addEventListener('pointerdown', (event) => {
  const t = (pointIn(strip, event)[0] - gutter()) / (strip.clientWidth - gutter()) * END;
  grip = { t, inside: t > view.t0 && t < view.t1 && view.t1 - view.t0 < END * 0.98, t0: view.t0, t1: view.t1, moved: false };
  strip.setPointerCapture(event.pointerId);
});
strip.addEventListener('pointermove', (event) => {
  if (!grip) return;
  const t = (pointIn(strip, event)[0] - gutter()) / (strip.clientWidth - gutter()) * END;
  grip.moved = grip.moved || Math.abs(t - grip.t) > END * 0.004;
  if (!grip.moved) return;
  if (grip.inside) setWindow(grip.t0 + t - grip.t, grip.t1 + t - grip.t);
  else setWindow(Math.min(t, grip.t), Math.max(t, grip.t));
});
strip.addEventListener('pointerup', () => {
  if (grip && !grip.moved) { const half = (view.t1 - view.t0) / 2; glide(grip.t - half, grip.t + half); }
  grip = null;
});
