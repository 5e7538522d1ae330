// The environment that programs get on this machine.

/** Messages in English, and the folders of admin tools on PATH; the rest is our own. */
export function environment(): NodeJS.ProcessEnv {
  const path = process.env['PATH'] ?? '/usr/bin:/bin';
  const missing = ['/usr/sbin', '/sbin'].filter((folder) => !path.split(':').includes(folder));
  return { ...process.env, LANG: 'C', LC_ALL: 'C', PATH: [path, ...missing].join(':') };
}
