// Filters hide; the search marks. Both work on words as they are shown.
const form = document.getElementById('filters');
const shownCount = document.getElementById('shown');
const found = document.getElementById('found');

function applyFilters() {
  const key = form.key.value.trim();
  const client = form.client.value.trim().replace(/^p/i, '');
  const f = form.f.value;
  const nodes = new Set([...form.querySelectorAll('[name=node]:checked')].map((box) => box.value));
  const outcomes = [...form.querySelectorAll('[name=outcome]')].map((box) => box.checked);
  const every = form.querySelectorAll('[name=node]').length;
  const keyCode = key === '' ? -2 : raw.words.indexOf(key);
  const fCode = f === '' ? -2 : raw.words.indexOf(f);
  view.shown = 0;
  for (let i = 0; i < N; i++) {
    const keep = (keyCode === -2 || ops.key[i] === keyCode) && (client === '' || String(ops.process[i]) === client) &&
      (fCode === -2 || ops.f[i] === fCode) && outcomes[ops.outcome[i]] && (nodes.size === every || nodes.has(word(ops.node[i])));
    view.mask[i] = keep ? 1 : 0;
    if (keep) view.shown++;
  }
  view.filtered = view.shown !== N;
  shownCount.textContent = view.filtered ? `${view.shown.toLocaleString('en')} of ${N.toLocaleString('en')} operations shown` : `${N.toLocaleString('en')} operations`;
  document.getElementById('clear').disabled = !view.filtered && !form.search.value;
  density = null;
  quantiles = null;
  redraw();
}

function clearFilters() {
  form.reset();
  applyFilters();
  search();
}

function search() {
  const text = form.search.value.trim();
  view.matches = [];
  view.match = -1;
  if (/^#\d+$/.test(text)) {
    const row = rowOf.get(Number(text.slice(1)));
    if (row !== undefined) view.matches = [row];
  } else if (text !== '') {
    const low = text.toLowerCase();
    const hit = (table) => table.map((item) => String(item).toLowerCase() === low || (low.length > 2 && String(item).toLowerCase().includes(low)));
    const words = hit(raw.words);
    const values = hit(raw.values);
    const pair = raw.values.map((item) => typeof item === 'string' && item.startsWith('[') && item.slice(1, -1).split(', ').some((part) => part.toLowerCase() === low));
    const isIn = (table, code) => code >= 0 && table[code];
    for (let i = 0; i < N; i++) {
      if (isIn(values, ops.argument[i]) || isIn(values, ops.result[i]) || isIn(pair, ops.argument[i]) || isIn(words, ops.key[i]) || isIn(words, ops.error[i]) || isIn(words, ops.f[i])) view.matches.push(i);
    }
  }
  found.textContent = text === '' ? '' : view.matches.length ? `${view.matches.length.toLocaleString('en')} found; Enter goes to the next` : 'nothing found';
  document.getElementById('clear').disabled = !view.filtered && text === '';
  redraw();
}

function nextMatch(direction) {
  const count = view.matches.length;
  if (!count) return;
  if (view.match < 0) {                                 // begin with the first one in the window
    const near = view.matches.findIndex((row) => ops.call_us[row] >= view.t0);
    view.match = near < 0 ? 0 : near;
  } else view.match = (view.match + direction + count) % count;
  select(view.matches[view.match]);
  found.textContent = `${(view.match + 1).toLocaleString('en')} of ${count.toLocaleString('en')}`;
}

form.addEventListener('submit', (event) => { event.preventDefault(); nextMatch(1); });
form.addEventListener('input', (event) => (event.target === form.search ? search() : applyFilters()));
form.search.addEventListener('keydown', (event) => {
  if (event.key === 'Enter') { event.preventDefault(); nextMatch(event.shiftKey ? -1 : 1); }
  if (event.key === 'Escape') { form.search.value = ''; search(); board.focus(); event.stopPropagation(); }
});
document.getElementById('clear').addEventListener('click', clearFilters);
