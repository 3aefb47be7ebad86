// Where operations take effect: the longest order of a witness, and for the operation pointed at, the longest that holds it.
const NS = 'http://www.w3.org/2000/svg';

document.querySelectorAll('.witness[data-anomaly]').forEach((witness) => {
  const anomaly = raw.anomalies[Number(witness.dataset.anomaly)];
  const orders = anomaly && anomaly.orders;
  if (!orders) return;
  const box = document.querySelector(`.order[data-order="${witness.dataset.anomaly}"]`);
  const tracks = [...witness.querySelectorAll('.track')];
  const chain = box.querySelector('.chain');
  const overlay = document.createElementNS(NS, 'svg');
  overlay.classList.add('through');
  overlay.setAttribute('aria-hidden', 'true');
  witness.append(overlay);
  let shown = -1;
  let stuck = -1;

  function place(number) {
    if (number === shown) return;
    shown = number;
    const [points, refused] = orders.lines[number];
    tracks.forEach((track) => track.querySelectorAll('.point').forEach((point) => point.remove()));
    const mark = ([at, x], bad) => {
      const point = el('i', bad ? '✗' : undefined, bad ? 'point refused' : 'point');
      point.style.left = `${x}%`;
      tracks[at].append(point);
    };
    points.forEach((point) => mark(point, false));
    refused.forEach((point) => mark(point, true));
    const text = (at) => tracks[at].querySelector('.name').textContent;
    const item = (parts, className) => { const li = el('li', undefined, className); li.append(...parts); return li; };
    chain.replaceChildren(
      item(['starts as ', el('b', orders.start)]),
      ...points.map(([at, , state]) => item([el('span', at + 1, 'badge'), ` ${text(at)}, then `, el('b', state)])),
      ...refused.map(([at, , why]) => item(['✗ ', el('span', at + 1, 'badge'), ` cannot follow: ${why}`], 'refused')),
    );
    join();
  }

  function join() {                                     // one line through the points, from top to bottom or back
    const frame = witness.getBoundingClientRect();
    overlay.replaceChildren();
    if (!frame.width) return;
    const [points, refused] = orders.lines[Math.max(shown, 0)];
    const at = ([k, x]) => { const track = tracks[k].getBoundingClientRect(); return [track.left - frame.left + track.width * x / 100 + witness.scrollLeft, track.top - frame.top + track.height]; };
    const line = (pairs, className) => {
      const path = document.createElementNS(NS, 'polyline');
      path.setAttribute('points', pairs.map((pair) => pair.join(',')).join(' '));
      path.setAttribute('class', className);
      overlay.append(path);
    };
    const through = points.map(at);
    if (through.length > 1) line(through, 'went');
    for (const end of refused) if (through.length) line([through[through.length - 1], at(end)], 'stopped');
  }

  const back = () => place(stuck >= 0 ? stuck : orders.longest);
  const of = (node) => (node ? orders.of[Number(node.dataset.place)] : -1);
  witness.querySelectorAll('[data-place]').forEach((node) => {
    const here = () => { if (of(node) >= 0) place(of(node)); };
    node.addEventListener('pointerenter', here);
    node.addEventListener('focusin', here);
    node.addEventListener('pointerleave', back);
    node.addEventListener('focusout', back);
    if (node.classList.contains('track')) node.addEventListener('click', () => { stuck = stuck === of(node) ? -1 : of(node); back(); });
  });
  place(orders.longest);
  new ResizeObserver(join).observe(witness);
});
