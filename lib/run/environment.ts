// The environment that programs get on this machine.

/** Our own environment, with messages in English and the folders of administrators' tools on PATH. */
export function environment(): NodeJS.ProcessEnv {
  const path = process.env['PATH'] ?? '/usr/bin:/bin';
  const missing = ['/usr/sbin', '/sbin'].filter((folder) => !path.split(':').includes(folder));
  return { ...process.env, LANG: 'C', LC_ALL: 'C', PATH: [path, ...missing].join(':') };
}
