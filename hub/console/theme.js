// Applies the remembered theme before the first paint. It is a classic script in <head> for that
// reason alone: a module would run after the page has been drawn once in the other theme.
(() => {
  try {
    const theme = localStorage.getItem('fanfare.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is refused (private window, policy): the system's theme applies.
  }
})();
