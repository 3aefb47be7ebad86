// Mouse, pen and fingers on the timeline: click selects, drag pans, Ctrl+wheel or two fingers zoom, double click zooms in.
const tip = document.getElementById('tip');
const fingers = new Map();
let drag = null;

board.addEventListener('pointerdown', (event) => {
  fingers.set(event.pointerId, event);
  const [x, y] = pointIn(board, event);
  drag = { x, y, t0: view.t0, t1: view.t1, moved: false, brush: event.shiftKey };
  board.setPointerCapture(event.pointerId);
});

board.addEventListener('pointermove', (event) => {
  if (!drag) { hover(event); return; }
  if (fingers.size === 2 && fingers.has(event.pointerId)) { pinch(event); return; }
  const dx = pointIn(board, event)[0] - drag.x;
  if (Math.abs(dx) > 4) drag.moved = true;
  if (drag.moved) {
    const move = dx / (board.clientWidth - gutter()) * (drag.t1 - drag.t0);
    setWindow(drag.t0 - move, drag.t1 - move);
  }
});

board.addEventListener('pointerup', (event) => {
  fingers.delete(event.pointerId);
  if (drag && !drag.moved) {
    const row = opAt(...pointIn(board, event));
    if (row >= 0) select(row);
    else select(-1);
  }
  drag = null;
});
board.addEventListener('pointercancel', (event) => { fingers.delete(event.pointerId); drag = null; });
board.addEventListener('pointerleave', () => { tip.hidden = true; if (view.hover >= 0) { view.hover = -1; redraw(); } });
board.addEventListener('dblclick', (event) => zoom(0.4, tOf(pointIn(board, event)[0])));
board.addEventListener('wheel', (event) => {
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(Math.max(-0.6, Math.min(0.6, event.deltaY * 0.004))), tOf(pointIn(board, event)[0]));
  else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / board.clientWidth);
  else return;
  event.preventDefault();
}, { passive: false });
stage.addEventListener('scroll', redraw);

function pinch(event) {
  const apart = () => { const [a, b] = [...fingers.values()]; return Math.max(20, Math.abs(a.clientX - b.clientX)); };
  const before = apart();
  fingers.set(event.pointerId, event);
  drag.moved = true;
  zoom(before / apart(), tOf(pointIn(board, event)[0]));
}

function hover(event) {
  const [x, y] = pointIn(board, event);
  const i = opAt(x, y);
  if (i !== view.hover) { view.hover = i; redraw(); }
  const row = rowAt(y);
  let text = '';
  if (i >= 0) text = `#${ops.index[i]}  ${describe(i, true)}\n${OUTCOME[ops.outcome[i]]} · ${length(ops.took_us[i])} · p${ops.process[i]} on ${word(ops.node[i]) || '–'} at ${time(ops.call_us[i])}`;
  else if (row && row.kind === 'node' && row.node) text = tellNode(row.node, tOf(x), x);
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const box = document.getElementById('timeline').getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 6)}px`;
  tip.style.top = `${event.clientY - box.top + 16}px`;
}

function tellNode(node, t, x) {
  const span = spanAt(node, t);
  const commit = commitAt(node, t);
  const near = (view.t1 - view.t0) / (board.clientWidth - gutter()) * 6;
  const lines = [`${node.name} at ${time(t)}: ${span ? `${span[2]}${span[3] >= 0 ? `, term ${span[3]}` : ''}` : 'not known'}${commit === null ? '' : `, commit index ${commit}`}`];
  for (const [at, , told] of node.marks) if (Math.abs(at - t) <= near && lines.length < 6) lines.push(`${time(at)}  ${told}`);
  return x < gutter() ? '' : lines.join('\n');
}
