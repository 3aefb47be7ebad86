// The timeline: fault bands above, then for each node its own lane and the lanes of the clients pinned to it.
const stage = document.getElementById('stage');
const board = document.getElementById('board');
const spacer = document.getElementById('spacer');
const NODE = 31;                                        // 3..20 the role, 21..28 the commit index
const LANE = 17;
const AXIS = raw.phases.length ? 34 : 22;
const BAND = 17;
const rows = [];                                        // {kind: 'node' | 'lane', node, lane, y, h}
let rowsHeight = 0;
let bands = [];
const bandLanes = [];

function layOut() {
  const names = raw.nodes.map((node) => node.name);
  for (const name of raw.lanes) if (!names.includes(name)) names.push(name);
  let y = 4;
  for (const name of names) {
    const node = raw.nodes.find((item) => item.name === name);
    rows.push({ kind: 'node', name: name || 'clients', node, y, h: NODE });
    y += NODE;
    raw.lanes.forEach((owner, lane) => {
      if (owner !== name) return;
      rows.push({ kind: 'lane', name, lane, y, h: LANE });
      y += LANE;
    });
    y += 7;
  }
  rowsHeight = y + 4;
  bands = raw.faults.map((fault) => {
    const end = fault.end === null ? (fault.landed ? END : fault.start) : fault.end;
    let lane = bandLanes.findIndex((busy) => busy <= fault.start);
    if (lane < 0) lane = bandLanes.length < 5 ? bandLanes.push(0) - 1 : 4;
    bandLanes[lane] = Math.max(bandLanes[lane], end + END * 0.02);
    return { fault, end, lane };
  });
  for (const band of bands) band.next = Math.min(...bands.filter((other) => other.lane === band.lane && other.fault.start > band.fault.start).map((other) => other.fault.start), END * 1.05);
}

const headHeight = () => AXIS + bandLanes.length * BAND + 3;
const xOf = (t, width) => gutter() + (t - view.t0) / (view.t1 - view.t0) * (width - gutter());
const tOf = (x) => view.t0 + (x - gutter()) / (board.clientWidth - gutter()) * (view.t1 - view.t0);

function paintTimeline() {
  const height = Math.min(headHeight() + rowsHeight, Math.max(220, Math.round(window.innerHeight * 0.72 / zoomOf(board))));
  stage.style.height = `${height}px`;
  spacer.style.height = `${headHeight() + rowsHeight}px`;
  const { pen, width } = prepare(board, height);
  const left = gutter();
  const head = headHeight();
  const shift = head - stage.scrollTop;
  pen.save();
  pen.beginPath();
  pen.rect(0, head, width, height - head);
  pen.clip();
  axis(pen, left, width, head, height);
  paintFaultShades(pen, width, shift);
  for (const row of rows) {
    const y = row.y + shift;
    if (y + row.h < head || y > height) continue;
    pen.save();
    pen.beginPath();
    pen.rect(left, y - 3, width - left, row.h + 6);
    pen.clip();
    if (row.kind === 'node') paintNode(pen, row, y, width);
    else paintLane(pen, row, y, width);
    pen.restore();
    paintLabel(pen, row, y, left);
  }
  paintMarks(pen, width, shift);
  pen.restore();
  paintHead(pen, width, head);
}

function paintLabel(pen, row, y, left) {
  pen.fillStyle = row.kind === 'node' ? ink.ink : ink.muted;
  pen.font = row.kind === 'node' ? '600 12px system-ui, sans-serif' : '10.5px system-ui, sans-serif';
  let text = row.name;
  if (row.kind === 'lane') {
    const list = laneRows[row.lane];
    const at = Math.min(firstAt(list, ops.end_us, view.t0), list.length - 1);
    text = at < 0 ? '' : `p${ops.process[list[at]]}`;
  }
  pen.fillText(fits(pen, text, left - 10), row.kind === 'node' ? 4 : 14, row.kind === 'node' ? y + 11.5 : y + row.h / 2);
  pen.font = '11px system-ui, sans-serif';
}

function paintHead(pen, width, head) {
  const left = gutter();
  pen.fillStyle = ink.card;
  pen.fillRect(0, 0, width, head);
  axis(pen, left, width, AXIS - 4, head, AXIS - 11);
  pen.fillStyle = ink.muted;
  if (bands.length) pen.fillText('faults', 4, AXIS + BAND / 2);
  pen.save();
  pen.beginPath();
  pen.rect(left, 0, width - left, head);
  pen.clip();
  raw.phases.forEach(([t, name], k) => {
    const x = xOf(t, width);
    const room = (k + 1 < raw.phases.length ? Math.min(xOf(raw.phases[k + 1][0], width), width) : width) - x - 8;
    pen.fillStyle = ink.muted;
    pen.fillRect(x, 2, 1.5, 14);
    if (x > left - 2) pen.fillText(fits(pen, name, room), x + 5, 9);
  });
  for (const { fault, end, lane, next } of bands) {
    const x0 = xOf(fault.start, width);
    const x1 = Math.max(xOf(end, width), x0 + 4);
    if (x1 < left || x0 > width) continue;
    const y = AXIS + lane * BAND + 1;
    pen.globalAlpha = fault.landed ? 0.28 : 0;
    pen.fillStyle = ink.fault;
    pen.fillRect(x0, y, x1 - x0, BAND - 3);
    pen.globalAlpha = 1;
    pen.strokeStyle = ink.fault;
    pen.setLineDash(fault.landed ? [] : [3, 3]);
    pen.strokeRect(x0 + 0.5, y + 0.5, x1 - x0 - 1, BAND - 4);
    pen.setLineDash([]);
    pen.fillStyle = ink.ink;
    const sign = fault.landed ? '' : fault.state === 'skipped' ? '– skipped: ' : `✗ ${fault.state}: `;
    const from = Math.max(x0, left) + 4;                 // as far as the next one of its row
    const text = fits(pen, `${sign}${fault.name} ${fault.targets.join(' ')}`, Math.min(xOf(next, width), width) - from - 2);
    if (text) pen.fillText(text, from, y + BAND / 2 - 1);
  }
  pen.restore();
}

function paintFaultShades(pen, width, shift) {
  for (const { fault, end } of bands) {
    if (!fault.landed) continue;
    const x0 = Math.max(gutter(), xOf(fault.start, width));
    const x1 = Math.min(width, xOf(end, width));
    if (x1 <= x0) continue;
    const everyone = !fault.targets.length;
    for (const row of rows) {
      if (!everyone && !fault.targets.includes(row.name)) continue;
      pen.globalAlpha = 0.13;
      pen.fillStyle = ink.fault;
      pen.fillRect(x0, row.y + shift - 2, x1 - x0, row.h + 2);
      pen.globalAlpha = 1;
      if (row.kind === 'node') { pen.fillStyle = ink.faultHatch; pen.fillRect(x0, row.y + shift - 2, x1 - x0, row.h + 2); }
    }
  }
}

const mostCommitted = Math.max(1, ...raw.nodes.map((node) => (node.commits.length ? node.commits[node.commits.length - 1][1] : 0)));
const ROLE_BOX = { leader: [3, 16], down: [3, 16], candidate: [7, 10], 'pre-candidate': [9, 6] };

function paintNode(pen, row, y, width) {
  const left = gutter();
  if (!row.node) { pen.fillStyle = ink.line; pen.fillRect(left, y + 16, width - left, 1); return; }
  paintCommits(pen, row.node, y, width, left);
  for (const [from, to, role, term] of row.node.spans) {
    const x0 = Math.max(left, xOf(from, width));
    const x1 = Math.min(width, xOf(to, width));
    if (x1 < left || x0 > width || x1 - x0 < 0.4) continue;
    const box = ROLE_BOX[role] || [16, 3];
    const stands = role.endsWith('candidate');
    pen.fillStyle = role === 'leader' ? ink.leader : role === 'down' ? ink.downHatch : stands ? ink.candidate : ink.follower;
    pen.fillRect(x0, y + box[0], Math.max(x1 - x0, 1), box[1]);
    if (role === 'down') { pen.lineWidth = 1; pen.strokeStyle = ink.down; pen.strokeRect(x0 + 0.5, y + 3.5, x1 - x0 - 1, 15); }
    if (x1 - x0 < 40) continue;
    const text = fits(pen, role === 'down' || term < 0 ? role : `${role} · term ${term}`, x1 - x0 - 18);
    if (!text) continue;
    const middle = y + (ROLE_BOX[role] ? 11.5 : 9);
    if (role === 'down' || stands) { pen.fillStyle = ink.card; pen.fillRect(x0 + 9, y + 5, pen.measureText(text).width + 6, 12); }
    pen.fillStyle = role === 'leader' ? ink.leader_ink : role === 'down' ? ink.ink : ink.muted;
    pen.fillText(text, x0 + 12, middle);
  }
  let lastX = -10;
  for (const [t, event] of row.node.marks) {
    const x = xOf(t, width);
    if (x < left - 4 || x > width + 4 || x - lastX < 3) continue;
    lastX = x;
    glyph(pen, event, x, y + 11);
  }
}

function paintCommits(pen, node, y, width, left) {      // a fine step line; it stops rising where nothing is committed
  if (!node.commits.length) return;
  pen.strokeStyle = ink.muted;
  pen.lineWidth = 1;
  pen.beginPath();
  let before = null;
  const alive = node.spans.filter((span) => span[2] !== 'down');
  const until = alive.length ? xOf(alive[alive.length - 1][1], width) : width;
  const line = (x, yy) => { if (before && x >= left) { pen.moveTo(Math.max(left, before[0]), before[1]); pen.lineTo(x, before[1]); pen.lineTo(x, yy); } before = [x, yy]; };
  for (const [t, index] of node.commits) {
    const x = xOf(t, width);
    if (x > width + 5) break;
    line(x, y + 28.5 - index / mostCommitted * 7);
  }
  if (before) line(Math.min(until, width), before[1]);
  pen.stroke();
}

function glyph(pen, event, x, y) {                      // a shape for each kind of event, whatever its colour
  pen.fillStyle = ink.mark;
  pen.strokeStyle = ink.card;
  pen.lineWidth = 1.5;
  pen.beginPath();
  if (event === 'become_leader') { pen.moveTo(x, y - 7); pen.lineTo(x + 6, y); pen.lineTo(x, y + 7); pen.lineTo(x - 6, y); pen.closePath(); }
  else if (event === 'become_candidate') { pen.moveTo(x, y - 5); pen.lineTo(x + 5, y + 4); pen.lineTo(x - 5, y + 4); pen.closePath(); }
  else if (event === 'recover') { pen.rect(x - 1.5, y - 8, 3, 16); pen.moveTo(x + 1, y - 8); pen.lineTo(x + 8, y - 4); pen.lineTo(x + 1, y); }
  else if (event === 'truncate') { pen.rect(x - 5, y - 1.5, 10, 3); }
  else pen.arc(x, y, 3, 0, 7);
  pen.stroke();
  pen.fill();
}

function paintLane(pen, row, y, width) {
  const list = laneRows[row.lane];
  const left = gutter();
  const scale = (width - left) / (view.t1 - view.t0);
  const runs = [[], [], [], []];                        // narrow bars of each category, melted together
  const last = [-1, -1, -1, -1];
  const wide = [];
  for (let j = firstAt(list, ops.end_us, view.t0); j < list.length; j++) {
    const i = list[j];
    if (ops.call_us[i] > view.t1) break;
    if (!view.mask[i]) continue;
    const x0 = left + (ops.call_us[i] - view.t0) * scale;
    const x1 = left + (ops.end_us[i] - view.t0) * scale;
    if (x1 - x0 >= 5) { wide.push(i, x0, x1); continue; }
    const c = ops.category[i];
    const run = runs[c];
    const end = Math.max(x1, x0 + 1.6);
    if (run.length && x0 <= last[c] + 0.6) run[run.length - 1] = last[c] = end;
    else { run.push(x0, end); last[c] = end; }
  }
  const boxes = [[2, 12], [5, 6], [11, 4], [0, 16]];
  const fills = [ink.ok, ink.ok, ink.fail, ink.infoHatch];
  for (let c = 0; c < 4; c++) {
    pen.fillStyle = fills[c];
    const run = runs[c];
    for (let k = 0; k < run.length; k += 2) pen.fillRect(run[k], y + boxes[c][0], run[k + 1] - run[k], boxes[c][1]);
  }
  for (let k = 0; k < wide.length; k += 3) bar(pen, wide[k], wide[k + 1], wide[k + 2], y);
}

function bar(pen, i, x0, x1, y) {
  const c = ops.category[i];
  const w = x1 - x0;
  const [top, h] = c === 0 ? [2, 13] : [3, 11];
  pen.lineWidth = 1;
  if (c === 3) {                                        // unknown: hatched, open at its end
    pen.fillStyle = ink.infoHatch;
    pen.fillRect(x0, y + top, w, h);
    pen.strokeStyle = ink.info;
    pen.beginPath();
    pen.moveTo(x1, y + top + 0.5); pen.lineTo(x0 + 0.5, y + top + 0.5); pen.lineTo(x0 + 0.5, y + top + h - 0.5); pen.lineTo(x1, y + top + h - 0.5);
    pen.stroke();
  } else {
    pen.fillStyle = c === 0 ? ink.ok : c === 1 ? ink.ok_soft : ink.card;
    pen.fillRect(x0, y + top, w, h);
    pen.strokeStyle = c === 2 ? ink.fail : ink.ok;
    pen.strokeRect(x0 + 0.5, y + top + 0.5, w - 1, h - 1);
    if (c === 2) {                                      // refused: hollow and struck through
      pen.beginPath(); pen.moveTo(x0 + 1, y + top + h - 1); pen.lineTo(x0 + Math.min(w - 1, 12), y + top + 1); pen.stroke();
    }
  }
  const from = Math.max(x0, gutter()) + (c === 2 && x0 >= gutter() ? 10 : 0);
  const room = Math.min(x1, board.clientWidth) - from;
  if (room < 24) return;
  const text = fits(pen, room > 120 ? describe(i, true) : short(i), room - 6);
  if (!text) return;
  if (c === 3) { pen.fillStyle = ink.info_soft; pen.fillRect(from + 3, y + top + 1, Math.min(room - 4, pen.measureText(text).width + 5), h - 2); }
  pen.fillStyle = c === 0 ? ink.ok_ink : ink.ink;
  pen.fillText(text, from + 5, y + top + h / 2 + 0.5);
}

function paintMarks(pen, width, shift) {                // search matches, the witness, the selection, on top of the bars
  const left = gutter();
  const box = (i, colour, thick, around) => {
    const row = rows.find((item) => item.kind === 'lane' && item.lane === ops.lane[i]);
    const x0 = xOf(ops.call_us[i], width);
    const x1 = Math.max(xOf(ops.end_us[i], width), x0 + 2);
    if (!row || x1 < left || x0 > width) return null;
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.strokeRect(Math.max(x0, left) - around, row.y + shift + 1 - around / 2, Math.min(x1, width) - Math.max(x0, left) + 2 * around, LANE - 3 + around);
    return [Math.max(x0, left), row.y + shift];
  };
  if (view.matches.length && view.matches.length <= 3000) for (const i of view.matches) if (view.mask[i]) box(i, ink.mark, 1.5, 1);
  if (view.hover >= 0 && view.hover !== view.selected) box(view.hover, ink.muted, 1, 1);
  if (view.selected >= 0) box(view.selected, ink.ink, 2.5, 3);
  raw.anomalies.forEach((anomaly, a) => {                 // where a node broke a rule: a ring on its lane
    for (const [t, name] of anomaly.moments) {
      const row = rows.find((item) => item.kind === 'node' && item.name === name);
      const x = xOf(t, width);
      if (!row || x < left - 8 || x > width + 8) continue;
      pen.strokeStyle = ink.accent;
      pen.lineWidth = a === view.anomaly ? 3 : 1.5;
      pen.beginPath();
      pen.arc(x, row.y + shift + 11.5, a === view.anomaly ? 10 : 7, 0, 7);
      pen.stroke();
    }
  });
  for (const [i, list] of proves) {
    const mine = list.find(([a]) => a === view.anomaly);   // numbers only for the anomaly that is being looked at
    const at = view.mask[i] ? box(i, ink.accent, mine ? 2 : 1, 2) : null;
    if (!at || !mine) continue;
    pen.fillStyle = ink.accent;
    pen.beginPath();
    pen.arc(at[0], at[1], 7, 0, 7);
    pen.fill();
    pen.fillStyle = ink.card;
    pen.font = '700 10px system-ui, sans-serif';
    pen.textAlign = 'center';
    pen.fillText(String(mine[1]), at[0], at[1] + 0.5);
    pen.textAlign = 'left';
    pen.font = '11px system-ui, sans-serif';
  }
}

function rowAt(y) {
  if (y < headHeight()) return null;
  const at = y - headHeight() + stage.scrollTop;
  return rows.find((row) => at >= row.y && at < row.y + row.h) || null;
}

function opAt(x, y) {                                   // the operation under a point of the board, -1 if none
  const row = rowAt(y);
  if (!row || row.kind !== 'lane' || x < gutter()) return -1;
  const list = laneRows[row.lane];
  const t = tOf(x);
  const near = (view.t1 - view.t0) / (board.clientWidth - gutter()) * 4;
  let best = -1;
  let distance = near;
  for (let j = firstAt(list, ops.end_us, t - near); j < list.length && ops.call_us[list[j]] <= t + near; j++) {
    const i = list[j];
    if (!view.mask[i]) continue;
    const away = Math.max(ops.call_us[i] - t, t - ops.end_us[i], 0);
    if (away < distance || best < 0) { best = i; distance = away; }
  }
  return best;
}
