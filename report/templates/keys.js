// The keyboard, documented in the dialog that "?" opens. Keys that move act when the timeline has the focus.
const help = document.getElementById('help');
let nextAnomaly = 0;

const onBoard = {
  ArrowLeft: () => pan(-0.12), ArrowRight: () => pan(0.12),
  ArrowUp: () => changeLane(-1), ArrowDown: () => changeLane(1),
  PageUp: () => pan(-0.9), PageDown: () => pan(0.9),
  Home: fit, 0: fit,
  '+': () => zoom(0.6), '=': () => zoom(0.6), '-': () => zoom(1.6), _: () => zoom(1.6),
  n: () => stepLane(1), p: () => stepLane(-1),
  Enter: () => (view.selected < 0 ? stepLane(1) : panel.focus()),
  z: () => view.selected >= 0 && glide(...windowOf([view.selected])),
};
const anywhere = {
  '/': () => { form.search.focus(); form.search.select(); },
  '?': () => help.showModal(),
  t: () => toggleTheme(),
  j: () => stepKey(1), k: () => stepKey(-1),
  a: () => {
    if (!raw.anomalies.length) return;
    const a = nextAnomaly;
    nextAnomaly = (a + 1) % raw.anomalies.length;
    showAnomaly(a);
  },
  b: () => back(Math.max(view.anomaly, 0)),
  g: () => { document.getElementById('timeline').scrollIntoView(); board.focus({ preventScroll: true }); },
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== 'checkbox';
  if (typing) return;
  if (event.key === 'Escape' && view.selected >= 0) { select(-1); board.focus({ preventScroll: true }); return; }
  const action = (event.target === board && onBoard[event.key]) || anywhere[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
