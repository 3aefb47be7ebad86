// Puts the parts together: links from sentences, theme, toolbar, printing, the first picture.
const root = document.documentElement;

function toggleTheme(to) {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : window.matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = to || (dark ? 'light' : 'dark');
  try { localStorage.setItem('capsize-theme', root.dataset.theme); } catch { /* a file may have no storage */ }
  readTheme();
  redraw();
}

const paintAll = () => { for (const [, paint] of painters) paint(); };

function showAnomaly(a) {
  const anomaly = raw.anomalies[a];
  if (!anomaly.rows.length && !anomaly.moments.length) return;
  view.anomaly = a;
  nextAnomaly = (a + 1) % raw.anomalies.length;
  if (view.filtered) clearFilters();
  document.getElementById('timeline').scrollIntoView({ behavior: still.matches ? 'auto' : 'smooth' });
  board.focus({ preventScroll: true });
  if (!anomaly.rows.length) {                           // a rule of Raft was broken: the moment, on its node's lane
    const times = anomaly.moments.map(([t]) => t);
    glide(Math.min(...times) - 150_000, Math.max(...times) + 150_000);
    showNode(anomaly.moments[anomaly.moments.length - 1][1]);
    said.textContent = `${anomaly.name}: ${anomaly.moments.map(([t, node]) => `${node} at ${time(t)}`).join(', ')}`;
    return;
  }
  glide(...windowOf(anomaly.rows));
  view.selected = anomaly.rows[anomaly.rows.length - 1];
  fillDetails(view.selected);
  showLane(view.selected);
}

function follow() {                                     // #op-93 selects an operation, #at-12.377 goes to a moment
  const op = /^#op-(\d+)$/.exec(location.hash);
  const at = /^#at-([\d.]+)$/.exec(location.hash);
  if (!op && !at) return;
  if (op) {
    const row = rowOf.get(Number(op[1]));
    if (row === undefined) return;
    select(row, { fromHash: true });
  } else glide(Number(at[1]) * 1e6 - 5e5, Number(at[1]) * 1e6 + 5e5);
  document.getElementById('timeline').scrollIntoView({ behavior: 'auto' });
  board.focus({ preventScroll: true });
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a.jump');
  if (!link) return;
  view.cameFrom = link;
  if (link.hash === location.hash) { event.preventDefault(); follow(); }
});
window.addEventListener('hashchange', follow);
document.querySelectorAll('[data-show]').forEach((node) => node.addEventListener('click', () => { view.cameFrom = node; showAnomaly(Number(node.dataset.show)); }));
document.querySelectorAll('[data-copy]').forEach((node) => node.addEventListener('click', async () => {
  const text = document.getElementById(node.dataset.copy).textContent;
  try { await navigator.clipboard.writeText(text); node.textContent = 'copied'; } catch { getSelection().selectAllChildren(document.getElementById(node.dataset.copy)); }
}));
const tools = { 'zoom-in': () => zoom(0.5), 'zoom-out': () => zoom(2), left: () => pan(-0.4), right: () => pan(0.4), fit, theme: () => toggleTheme(), keys: () => help.showModal() };
for (const [id, action] of Object.entries(tools)) document.getElementById(id).addEventListener('click', action);

try { root.dataset.theme = localStorage.getItem('capsize-theme') || ''; } catch { /* as above */ }
if (!root.dataset.theme) delete root.dataset.theme;
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readTheme(); redraw(); });
window.addEventListener('resize', () => { density = null; redraw(); });
new ResizeObserver(redraw).observe(stage);
window.addEventListener('beforeprint', () => { root.dataset.print = root.dataset.theme || 'auto'; root.dataset.theme = 'light'; readTheme(); panel.parentElement.after(legend); paintAll(); });
window.addEventListener('afterprint', () => { if (root.dataset.print === 'auto') delete root.dataset.theme; else root.dataset.theme = root.dataset.print; delete root.dataset.print; readTheme(); fillDetails(view.selected); redraw(); });

if (window.innerWidth <= 640) document.getElementById('more').open = false;
readTheme();
layOut();
painters.push([board, paintTimeline], [strip, paintOverview], [latency, paintLatency], [rate, paintRate]);
setWindow(-END * 0.01, END * 1.01);
const first = raw.anomalies.find((anomaly) => anomaly.rows.length) || raw.anomalies.find((anomaly) => anomaly.moments.length);
if (first) { view.anomaly = raw.anomalies.indexOf(first); const [from, to] = first.rows.length ? windowOf(first.rows) : [first.moments[0][0] - 400_000, first.moments[0][0] + 400_000]; setWindow(from, to); if (first.rows.length) showLane(first.rows[0]); }
applyFilters();
fillDetails(-1);
paintAll();
follow();
document.body.dataset.ready = String(Math.round(performance.now()));
// For the tests: where an operation is on the screen, and how bars and roles look when every colour is the same.
const tests = {
  pointOf: (row) => {
    const place = rows.find((item) => item.kind === 'lane' && item.lane === ops.lane[row]);
    const box = board.getBoundingClientRect();
    const scale = box.width / board.clientWidth;
    const x = (xOf(ops.call_us[row], board.clientWidth) + xOf(ops.end_us[row], board.clientWidth)) / 2;
    return [box.left + x * scale, box.top + (headHeight() - stage.scrollTop + place.y + LANE / 2) * scale];
  },
  inOneColour: (paint) => {
    const kept = ink;
    ink = Object.fromEntries(Object.keys(kept).map((name) => [name, '#000']));
    Object.assign(ink, { card: '#fff', ok_soft: '#fff', info_soft: '#fff', ok_ink: '#fff', leader_ink: '#fff' });
    ink.infoHatch = hatch('#000', '#fff', 1);
    ink.downHatch = hatch('#000', 'transparent', -1);
    const canvas = document.createElement('canvas');
    canvas.width = 60;
    canvas.height = 34;
    const pen = canvas.getContext('2d');
    try { paint(pen); return canvas.toDataURL(); } finally { ink = kept; }
  },
  shapes: () => [0, 1, 2, 3].map((category) => tests.inOneColour((pen) => {
    const row = ops.category.indexOf(category);
    if (row >= 0) bar(pen, row, 4, 24, 4);
  })),
  roles: () => ['leader', 'follower', 'candidate', 'down'].map((role) => tests.inOneColour((pen) => {
    pen.translate(-gutter(), 0);
    const [t0, t1] = [view.t0, view.t1];
    [view.t0, view.t1] = [0, 1000];
    try { paintNode(pen, { node: { spans: [[0, 40, role, 3]], commits: [], marks: [] } }, 2, gutter() + 1000); } finally { [view.t0, view.t1] = [t0, t1]; }
  })),
};
window.capsize = { ...tests, orders: (a) => raw.anomalies[a].orders, moments: (a) => raw.anomalies[a].moments, view, zoom, pan, setWindow, paint: paintAll, count: N };
