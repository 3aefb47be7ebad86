// One snapshot a second from the server; numbers, the faults that hold, and a strip of answers a second.
const live = document.getElementById('live');
const canvas = document.getElementById('chart');
const SIGNS = { valid: '✓', invalid: '✗', unknown: '?', running: '▸' };
let latest = null;

function put(id, text) {
  const node = document.getElementById(id);
  if (node.textContent !== String(text)) node.textContent = text;
}

function micro(us) {
  if (us === null) return '–';
  if (us < 1000) return `${us} µs`;
  return us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`;
}

function list(id, rows, empty) {
  const node = document.getElementById(id);
  node.replaceChildren(...rows.map((parts) => {
    const item = document.createElement('li');
    for (const [tag, text, name] of parts) {
      const part = document.createElement(tag);
      part.textContent = text;
      if (name) part.className = name;
      item.append(part, ' ');
    }
    return item;
  }));
  if (!rows.length) { const item = document.createElement('li'); item.className = 'quiet'; item.textContent = empty; node.append(item); }
}

function show(told) {
  latest = told;
  const limit = Number(live.dataset.limit);
  const state = document.getElementById('state');
  state.className = `state ${told.state.replace(' ', '-')}`;
  put('state', `${SIGNS[told.state] || '–'} ${told.state}`);
  put('phase', told.phase);
  put('elapsed', `${told.elapsed_s.toFixed(0)}${limit ? ` of ${limit}` : ''} s`);
  document.getElementById('bar').value = limit ? Math.min(told.elapsed_s, limit) : 1;
  for (const word of ['ok', 'fail', 'info']) put(word, told.counts[word].toLocaleString('en'));
  put('open', told.open);
  put('rate', told.per_second);
  put('p50', micro(told.p50_us));
  put('p99', micro(told.p99_us));
  put('leader', told.leader ? `${told.leader}${told.term === null ? '' : `, term ${told.term}`}` : 'none known');
  list('faults', told.active.map((f) => [['strong', f.name], ['span', f.targets.join(', ')], ['span', `since ${f.since_s.toFixed(1)} s${f.landed ? ', landed' : ''}`, 'quiet']]), 'none');
  list('news', told.news.map(([at, text]) => [['span', `${at.toFixed(3)} s`, 'mono'], ['span', text]]), 'nothing yet');
  put('log', told.log.join('\n'));
  document.getElementById('over').hidden = told.state === 'running';
  draw();
}

function draw() {
  if (!latest) return;
  const width = canvas.clientWidth;
  const height = 150;
  const scale = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext('2d');
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  const probe = document.createElement('span');
  document.body.append(probe);
  const ink = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const bins = latest.seconds.slice(0, -1);             // the last second is not over yet
  const most = Math.max(1, ...bins.map((bin) => Math.max(bin[1], bin[2], bin[3])));
  pen.font = '11px system-ui, sans-serif';
  pen.fillStyle = ink('muted');
  pen.fillText(`${most}/s`, 0, 12);
  pen.fillText('0', 0, height - 20);
  const left = 44;
  const first = bins.length ? bins[0][0] : 0;
  const across = Math.max(bins.length, Math.min(120, Number(live.dataset.limit) || 120));
  const step = (width - left) / across;
  for (const w of latest.windows) {
    const x0 = Math.max(left, left + (w.from_s - first) * step);
    const x1 = Math.min(width, left + ((w.to_s ?? latest.elapsed_s) - first) * step);
    if (x1 <= x0) continue;
    pen.globalAlpha = 0.16;
    pen.fillStyle = ink('fault');
    pen.fillRect(x0, 0, x1 - x0, height - 20);
    pen.globalAlpha = 1;
    pen.fillStyle = ink('muted');
    pen.fillText(w.name, x0 + 3, 11);
  }
  bins.forEach((bin, k) => { if (bin[0] % 15 === 0) pen.fillText(`${bin[0]} s`, left + k * step, height - 3); });
  [[1, 'ok', []], [2, 'fail', [2, 2]], [3, 'info', [6, 3]]].forEach(([column, name, dash]) => {
    pen.strokeStyle = ink(name);
    pen.lineWidth = 1.8;
    pen.setLineDash(dash);
    pen.beginPath();
    bins.forEach((bin, k) => {
      const y = height - 20 - bin[column] / most * (height - 34);
      if (k === 0) pen.moveTo(left, y);
      pen.lineTo(left + k * step, y);
      pen.lineTo(left + (k + 1) * step, y);
    });
    pen.stroke();
  });
  probe.remove();
}

const source = new EventSource(live.dataset.events);
source.addEventListener('message', (event) => {
  document.getElementById('lost').hidden = true;
  const before = latest;
  show(JSON.parse(event.data));
  if (latest.state !== 'running') { source.close(); document.getElementById('told').textContent = `The run has ended: ${latest.state}`; }
  else if (before && before.phase !== latest.phase) document.getElementById('told').textContent = `Phase ${latest.phase}`;
});
source.addEventListener('error', () => { document.getElementById('lost').hidden = source.readyState === EventSource.OPEN; });
window.addEventListener('resize', draw);
document.addEventListener('themed', draw);
