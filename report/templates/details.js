// The selected operation, in full, and what the cluster was at that moment.
const panel = document.getElementById('details');
const legend = document.getElementById('legend');
const said = document.getElementById('said');
const MEANING = {
  ok: 'It happened.',
  fail: 'It did not happen and never will.',
  info: 'Not known: it may have taken effect at any time after the call, or never.',
};

function el(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function button(text, action, title) {
  const node = el('button', text);
  node.type = 'button';
  if (title) node.title = title;
  node.addEventListener('click', action);
  return node;
}

function select(row, options = {}) {
  view.selected = row;
  const hash = row >= 0 ? `#op-${ops.index[row]}` : ' ';
  if (!options.fromHash && location.hash !== hash.trim()) history.replaceState(null, '', row >= 0 ? hash : location.pathname + location.search);
  if (row >= 0 && !view.mask[row]) clearFilters();
  const parts = proves.get(row) || [];
  if (parts.length && !parts.some(([a]) => a === view.anomaly)) view.anomaly = parts[0][0];
  if (row >= 0) { show(row); showLane(row); }
  fillDetails(row);
  redraw();
}

function showLane(row) {
  const place = rows.find((item) => item.kind === 'lane' && item.lane === ops.lane[row]);
  if (!place) return;
  const room = stage.clientHeight - headHeight();
  if (place.y < stage.scrollTop || place.y + place.h > stage.scrollTop + room) stage.scrollTop = Math.max(0, place.y - room / 2);
}

function showNode(name) {
  const place = rows.find((item) => item.kind === 'node' && item.name === name);
  if (place) stage.scrollTop = Math.max(0, place.y - (stage.clientHeight - headHeight()) / 2);
}

function fillDetails(row) {
  panel.replaceChildren();
  panel.classList.toggle('open', row >= 0);
  if (row < 0) {                                        // room for the legend, where there is room at all
    panel.append(el('p', 'Select an operation to see all that is known of it.', 'quiet'));
    if (window.innerWidth > 1000) panel.append(legend); else panel.parentElement.after(legend);
    return;
  }
  if (legend.parentElement !== panel.parentElement.parentElement) panel.parentElement.after(legend);
  const outcome = OUTCOME[ops.outcome[row]];
  const call = ops.call_us[row];
  const took = ops.took_us[row];
  const title = el('h3', describe(row, true));
  panel.append(title, el('p', `${outcome}. ${MEANING[outcome]}`, `outcome ${outcome}`));
  for (const [a, k] of proves.get(row) || []) {
    panel.append(button(`No. ${k} of the proof: ${raw.anomalies[a].name}. Back to the argument`, () => back(a), 'key b'));
  }
  const list = el('dl');
  const add = (name, text) => { if (text !== '' && text !== null) list.append(el('dt', name), el('dd', String(text))); };
  add('operation', `#${ops.index[row]}${ops.final[row] > 0 ? ' (final read, after recovery)' : ''}`);
  add('client', `p${ops.process[row]} on ${word(ops.node[row]) || 'an unnamed node'}`);
  add('key', word(ops.key[row]));
  add('asked', value(ops.argument[row]) === '' ? word(ops.f[row]) : `${word(ops.f[row])} ${value(ops.argument[row])}`);
  const told = value(ops.result[row]);
  add('told', ops.outcome[row] === 0 ? (told === '' || (told === 'null' && !isRead[ops.f[row]]) ? 'done' : told) : '');
  add('error', word(ops.error[row]));
  add('called', time(call, 6));
  add(outcome === 'info' ? 'given up' : 'answered', took < 0 ? 'never' : `${time(call + took, 6)}, after ${length(took)}`);
  add('served by', word(ops.served_by[row]));
  add('term', ops.term[row] < 0 ? '' : ops.term[row]);
  add('log index', ops.log_index[row] < 0 ? '' : ops.log_index[row]);
  add('also', word(ops.extra[row]));
  const until = took < 0 ? call : call + took;
  add('faults then', faultsAt(call, until).map((f) => `${f.name} ${f.targets.join(' ')}`).join(', ') || 'none');
  panel.append(list);
  panel.append(clusterThen(until), neighbours(row));
  said.textContent = `Operation ${ops.index[row]}, ${describe(row, true)}, ${outcome}, client ${ops.process[row]}, at ${time(call)}`;
}

function clusterThen(t) {
  const table = el('table', undefined, 'then');
  table.append(el('caption', `The nodes at ${time(t)}`));
  for (const node of raw.nodes) {
    const span = spanAt(node, t);
    const commit = commitAt(node, t);
    if (!span && commit === null) continue;
    const line = el('tr');
    line.append(el('th', node.name), el('td', span ? span[2] : '–'), el('td', span && span[3] >= 0 ? `term ${span[3]}` : ''), el('td', commit === null ? '' : `commit ${commit}`));
    if (span && span[2] === 'leader') line.className = 'leads';
    table.append(line);
  }
  return table.rows.length ? table : el('span');
}

function neighbours(row) {
  const box = el('div', undefined, 'buttons');
  if (ops.key[row] >= 0) {
    box.append(button('◂ on this key', () => stepKey(-1), 'key k'), button('on this key ▸', () => stepKey(1), 'key j'));
    box.append(button('only this key', () => { form.key.value = word(ops.key[row]); applyFilters(); }));
  }
  box.append(button('zoom to it', () => glide(...windowOf([row]))), button('close', () => { select(-1); board.focus(); }, 'Escape'));
  return box;
}

function stepKey(direction) {                           // the next shown operation on the same key, by call time
  const from = view.selected;
  if (from < 0) return;
  for (let i = from + direction; i >= 0 && i < N; i += direction) {
    if (ops.key[i] === ops.key[from] && view.mask[i]) { select(i); return; }
  }
}

function stepLane(direction) {                          // the next shown operation of the same lane
  const from = view.selected >= 0 ? view.selected : Math.min(firstCall((view.t0 + view.t1) / 2), N - 1);
  if (from < 0) return;
  if (view.selected < 0) { select(from); return; }
  const list = laneRows[ops.lane[from]];
  for (let j = firstAt(list, ops.call_us, ops.call_us[from]); j >= 0 && j < list.length; j += direction) {
    if (list[j] !== from && view.mask[list[j]] && Math.sign(list[j] - from) === direction) { select(list[j]); return; }
  }
}

function changeLane(direction) {                        // the operation nearest in time, one lane up or down
  const from = view.selected;
  if (from < 0) { stepLane(1); return; }
  const lanes = rows.filter((row) => row.kind === 'lane');
  let place = lanes.findIndex((row) => row.lane === ops.lane[from]) + direction;
  for (; place >= 0 && place < lanes.length; place += direction) {
    const list = laneRows[lanes[place].lane];
    const j = firstAt(list, ops.end_us, ops.call_us[from]);
    for (let k = Math.min(j, list.length - 1); k >= 0 && k < list.length; k++) if (view.mask[list[k]]) { select(list[k]); return; }
  }
}

function back(anomaly) {                                // from the timeline to the sentence that sent us there
  const target = view.cameFrom && view.cameFrom.isConnected ? view.cameFrom : document.getElementById(`anomaly-${anomaly + 1}`);
  if (!target) return;
  for (let folded = target.closest('details'); folded; folded = folded.parentElement.closest('details')) folded.open = true;
  target.scrollIntoView({ block: 'center', behavior: still.matches ? 'auto' : 'smooth' });
  target.focus({ preventScroll: true });
}
