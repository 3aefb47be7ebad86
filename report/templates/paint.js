// Colours of the theme, hatches, canvases at the screen's density, and the time axis.
const canvases = [];
let ink = {};

function readTheme() {
  const probe = document.createElement('span');
  probe.hidden = true;
  document.body.append(probe);
  const names = ['ink', 'muted', 'line', 'card', 'ok', 'ok-soft', 'ok-ink', 'fail', 'info', 'info-soft', 'fault', 'leader',
    'leader-ink', 'candidate', 'follower', 'down', 'accent', 'mark', 'stripe'];
  ink = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    ink[name.replace('-', '_')] = getComputedStyle(probe).color;
  }
  probe.remove();
  ink.infoHatch = hatch(ink.info, ink.info_soft, 1);
  ink.downHatch = hatch(ink.down, 'transparent', -1);
  ink.faultHatch = hatch(ink.fault, 'transparent', 1, 14, 0.35);
}

function hatch(stroke, fill, direction, size = 6, alpha = 1) {
  const tile = document.createElement('canvas');
  tile.width = tile.height = size;
  const pen = tile.getContext('2d');
  if (fill !== 'transparent') { pen.fillStyle = fill; pen.fillRect(0, 0, size, size); }
  pen.strokeStyle = stroke;
  pen.globalAlpha = alpha;
  pen.lineWidth = size > 8 ? 1.2 : 1.6;
  for (const shift of [-size, 0, size]) {
    pen.beginPath();
    pen.moveTo(shift, direction > 0 ? size : 0);
    pen.lineTo(shift + size, direction > 0 ? 0 : size);
    pen.stroke();
  }
  return pen.createPattern(tile, 'repeat');
}

const zoomOf = (node) => node.currentCSSZoom || 1;      // wide screens magnify the drawings, see report.css

function pointIn(node, event) {                         // where the pointer is, in the drawing's own pixels
  const box = node.getBoundingClientRect();
  const scale = box.width ? node.clientWidth / box.width : 1;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function prepare(canvas, height) {                      // size a canvas to its box; returns its pen
  const width = canvas.clientWidth;
  const density = Math.min((window.devicePixelRatio || 1) * zoomOf(canvas), 3);
  if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(density, 0, 0, density, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = '11px system-ui, sans-serif';
  pen.textBaseline = 'middle';
  return { pen, width, height };
}

const gutter = () => (window.innerWidth < 700 ? 46 : 84);

function ticks(from, to, most) {                        // round times between two moments, in microseconds
  const rough = (to - from) / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const list = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) list.push(t);
  return { list, digits: Math.max(0, Math.min(6, 6 - Math.floor(Math.log10(step) + 1e-9))) };
}

function axis(pen, left, width, top, bottom, label) {   // vertical lines at round times; label: y of the words
  const { list, digits } = ticks(view.t0, view.t1, (width - left) / 90);
  pen.strokeStyle = ink.line;
  pen.lineWidth = 1;
  pen.beginPath();
  for (const t of list) {
    const x = Math.round(left + (t - view.t0) / (view.t1 - view.t0) * (width - left)) + 0.5;
    if (x < left) continue;
    pen.moveTo(x, top);
    pen.lineTo(x, bottom);
  }
  pen.stroke();
  if (label === undefined) return;
  pen.fillStyle = ink.muted;
  for (const t of list) {
    const x = left + (t - view.t0) / (view.t1 - view.t0) * (width - left);
    if (x >= left && x < width - 30) pen.fillText(time(t, digits), x + 4, label);
  }
}

function fits(pen, text, room) {                        // the part of a text that fits, "" if that says nothing
  const most = Math.floor(room / 6.1);
  if (text.length <= most) return text;
  return most < 3 ? '' : text.slice(0, most - 1) + '…';
}
