// Light, dark, or as the system has it; remembered, and set before the page is drawn.
const root = document.documentElement;
try { root.dataset.theme = localStorage.getItem('capsize-theme') || ''; } catch { /* storage may be off */ }
if (!root.dataset.theme) delete root.dataset.theme;
document.addEventListener('DOMContentLoaded', () => {
  document.getElementById('theme').addEventListener('click', () => {
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
    try { localStorage.setItem('capsize-theme', root.dataset.theme); } catch { /* as above */ }
    document.dispatchEvent(new Event('themed'));
  });
});
