// The run's data as typed columns, and the words in which one operation is told.
const raw = JSON.parse(document.getElementById('data').textContent);
const N = raw.count;
const OUTCOME = ['ok', 'fail', 'info'];
const READS = new Set(['read', 'get']);
const END = Math.max(raw.last_us, 1);

const keyCodes = new Set(raw.columns.key);
for (const code of [...keyCodes].filter((item) => item >= 0).slice(0, 500)) {
  const option = document.createElement('option');
  option.value = String(raw.words[code]);
  document.getElementById('all-keys').append(option);
}

function column(name) {
  const list = raw.columns[name];
  const out = new Float64Array(N);
  if (list) out.set(list);
  else out.fill(raw.constant[name]);
  return out;
}

const ops = {};
for (const name of ['index', 'call_us', 'took_us', 'process', 'f', 'key', 'argument', 'result', 'node', 'outcome',
  'error', 'term', 'log_index', 'served_by', 'extra', 'final', 'lane']) ops[name] = column(name);
for (let i = 1; i < N; i++) ops.call_us[i] += ops.call_us[i - 1];

// What is drawn of an operation ends when it was answered; what was never answered ends where its lane goes on.
ops.end_us = new Float64Array(N);
ops.category = new Uint8Array(N);                      // 0 change ok, 1 read ok, 2 fail, 3 info
const laneRows = raw.lanes.map(() => []);
const isRead = raw.words.map((word) => READS.has(word));
for (let i = 0; i < N; i++) {
  laneRows[ops.lane[i]].push(i);
  ops.category[i] = ops.outcome[i] === 0 ? (isRead[ops.f[i]] ? 1 : 0) : ops.outcome[i] + 1;
}
for (const rows of laneRows) {
  for (let j = 0; j < rows.length; j++) {
    const i = rows[j];
    const limit = j + 1 < rows.length ? ops.call_us[rows[j + 1]] : END;
    const end = ops.took_us[i] < 0 ? limit : ops.call_us[i] + ops.took_us[i];
    ops.end_us[i] = Math.max(ops.call_us[i], Math.min(end, Math.max(limit, ops.call_us[i])));
  }
}
const rowOf = new Map();
for (let i = 0; i < N; i++) rowOf.set(ops.index[i], i);

// Which operations prove which anomaly: row -> [[anomaly, number], …]
const proves = new Map();
raw.anomalies.forEach((anomaly, a) => {
  anomaly.rows = anomaly.operations.map((index) => rowOf.get(index)).filter((row) => row !== undefined);
  anomaly.rows.forEach((row, k) => {
    if (!proves.has(row)) proves.set(row, []);
    proves.get(row).push([a, k + 1]);
  });
});

const word = (code) => (code < 0 ? '' : String(raw.words[code]));
const value = (code) => (code < 0 ? '' : String(raw.values[code]));

function describe(i, withKey) {
  const f = word(ops.f[i]);
  const argument = value(ops.argument[i]);
  const result = value(ops.result[i]);
  const key = withKey && ops.key[i] >= 0 ? ` [${word(ops.key[i])}]` : '';
  let text = f + key;
  if (f === 'cas') {
    const pair = /^\[(.*), (.*)\]$/.exec(argument);
    text += ' ' + (pair ? `${pair[1]} → ${pair[2]}` : argument);
    if (ops.outcome[i] === 0) return text + (result === 'false' ? ' did not match' : ' did');
    return ops.outcome[i] === 2 ? text + ' ?' : text;
  }
  if (argument !== '') text += ' ' + argument;
  if (ops.outcome[i] === 0 && result !== '' && !(argument !== '' && result === 'null')) return `${text} → ${result}`;
  return ops.outcome[i] === 2 ? text + ' ?' : text;
}

function short(i) {                                     // for the inside of a bar
  const f = word(ops.f[i]);
  if (isRead[ops.f[i]]) return ops.outcome[i] === 0 ? value(ops.result[i]) : f;
  const argument = value(ops.argument[i]);
  return f === 'write' || f === 'put' ? '=' + argument : `${f} ${argument}`;
}

function time(us, digits = 3) { return (us / 1e6).toFixed(digits) + ' s'; }

function length(us) {
  if (us < 0) return 'never answered';
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e4 ? 2 : 1)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}

function firstAt(rows, column_, t) {                    // first position in rows with column >= t
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column_[rows[middle]] < t) low = middle + 1; else high = middle;
  }
  return low;
}

function firstCall(t) {                                 // first row called at or after t
  let low = 0;
  let high = N;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ops.call_us[middle] < t) low = middle + 1; else high = middle;
  }
  return low;
}

function spanAt(node, t) {                              // what a node was at a moment: [start, end, role, term]
  let found = null;
  for (const span of node.spans) if (span[0] <= t && t < span[1]) found = span;
  return found;
}

function commitAt(node, t) {
  let low = 0;
  let high = node.commits.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (node.commits[middle][0] <= t) low = middle + 1; else high = middle;
  }
  return low ? node.commits[low - 1][1] : null;
}

const faultsAt = (from, to) => raw.faults.filter((f) => f.landed && f.start <= to && (f.end === null || f.end >= from));
