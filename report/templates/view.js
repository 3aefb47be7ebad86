// What the person is looking at: the window of time, the selection, the filters. Every change is drawn in the next frame.
const NARROWEST_US = 50;
const view = {
  t0: 0, t1: END, selected: -1, hover: -1,
  mask: new Uint8Array(N).fill(1), shown: N, filtered: false,
  matches: [], isMatch: null, match: -1, cameFrom: null, anomaly: 0,
};
const painters = [];
let frame = 0;
const still = window.matchMedia('(prefers-reduced-motion: reduce)');

function onScreen(canvas) {                             // what nobody sees is drawn when it is scrolled to
  const box = canvas.getBoundingClientRect();
  return box.bottom > -100 && box.top < window.innerHeight + 100;
}
window.addEventListener('scroll', () => redraw(), { passive: true });

function redraw() {
  if (!frame) frame = requestAnimationFrame(() => { frame = 0; for (const [canvas, paint] of painters) if (onScreen(canvas)) paint(); });
}

function setWindow(t0, t1) {
  const most = END * 1.04;
  const span = Math.min(Math.max(t1 - t0, NARROWEST_US), most);
  const start = Math.min(Math.max((t0 + t1 - span) / 2, -END * 0.02), END * 1.02 - span);
  view.t0 = start;
  view.t1 = start + span;
  redraw();
}

let gliding = 0;
function glide(t0, t1) {                                // move the window so that the eye can follow
  cancelAnimationFrame(gliding);
  if (still.matches) { setWindow(t0, t1); return; }
  const from = [view.t0, view.t1];
  const began = performance.now();
  const step = (now) => {
    const done = Math.min(1, (now - began) / 220);
    const ease = 1 - (1 - done) ** 3;
    setWindow(from[0] + (t0 - from[0]) * ease, from[1] + (t1 - from[1]) * ease);
    if (done < 1) gliding = requestAnimationFrame(step);
  };
  gliding = requestAnimationFrame(step);
}

function zoom(factor, at = (view.t0 + view.t1) / 2) {
  cancelAnimationFrame(gliding);
  const span = Math.min(Math.max((view.t1 - view.t0) * factor, NARROWEST_US), END * 1.04);
  const share = (at - view.t0) / (view.t1 - view.t0);
  setWindow(at - span * share, at + span * (1 - share));
}

function pan(share) {
  cancelAnimationFrame(gliding);
  const move = (view.t1 - view.t0) * share;
  setWindow(view.t0 + move, view.t1 + move);
}

const fit = () => glide(-END * 0.01, END * 1.01);

function windowOf(rows) {                               // a window in which these operations are well seen
  let from = Infinity;
  let to = -Infinity;
  for (const row of rows) {
    from = Math.min(from, ops.call_us[row]);
    to = Math.max(to, ops.outcome[row] === 2 ? ops.call_us[row] : ops.end_us[row]);
  }
  const around = Math.max((to - from) * 0.25, 20_000);
  return [from - around, to + around];
}

function show(row) {                                    // bring an operation into the window without losing one's place
  const span = view.t1 - view.t0;
  const call = ops.call_us[row];
  const took = Math.max(500, (ops.outcome[row] === 2 ? call : ops.end_us[row]) - call);
  if (span > took * 250) { const around = Math.max(took * 60, 10_000); glide(call - around, call + took + around); return; }
  if (call < view.t0 + span * 0.04 || call + took > view.t1 - span * 0.04) glide(call + took / 2 - span / 2, call + took / 2 + span / 2);
}
