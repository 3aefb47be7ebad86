// The list answers while one types, and renews itself while a run goes on. Without this script the form still works.
const ask = document.getElementById('ask');
let waiting = 0;
let asked = 0;

async function renew(query, { keep = false } = {}) {
  const number = ++asked;
  let answer;
  try { answer = await fetch(`/rows${query}`); } catch { return; }
  if (!answer.ok || number !== asked) return;
  const ticked = keep ? [...document.querySelectorAll('#picked [name=run]:checked')].map((box) => box.value) : [];
  const held = keep && document.activeElement.closest('#list') ? document.activeElement.getAttribute('href') || document.activeElement.value : null;
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('list');
  if (number !== asked || !fresh) return;
  document.getElementById('list').replaceWith(document.adoptNode(fresh));
  for (const box of document.querySelectorAll('#picked [name=run]')) box.checked = ticked.includes(box.value);
  if (held) [...document.querySelectorAll('#list a, #list input')].find((node) => (node.getAttribute('href') || node.value) === held)?.focus();
  pick();
}

const queryOf = () => {
  const data = new URLSearchParams([...new FormData(ask)].filter(([, value]) => value));
  return `?${data}`;
};

function changed() {
  const query = queryOf();
  history.replaceState(null, '', query === '?' ? '/' : `/${query}`);
  renew(query);
}

ask.addEventListener('submit', (event) => { event.preventDefault(); changed(); });
ask.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(changed, 150); });

document.addEventListener('click', (event) => {
  const link = event.target.closest('#list a.sort');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const words = new URLSearchParams(link.search);
  ask.sort.value = words.get('sort');
  history.replaceState(null, '', link.href);
  renew(link.search).then(() => [...document.querySelectorAll('#list a.sort')].find((node) => node.textContent.split(' ')[0] === link.textContent.split(' ')[0])?.focus());
});

function pick() {                                       // two at a time: a third replaces the first
  const button = document.getElementById('compare');
  if (!button) return;
  const count = document.querySelectorAll('#picked [name=run]:checked').length;
  button.disabled = count !== 2;
  button.textContent = count === 2 ? 'Compare the two ticked runs' : `Tick two runs to compare them (${count} of 2)`;
}
document.addEventListener('change', (event) => { if (event.target.name === 'run') pick(); });
pick();
setInterval(() => {
  if (document.hidden || !document.getElementById('list').dataset.running) return;
  renew(location.search, { keep: true });
}, 3000);
