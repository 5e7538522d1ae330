// Explains why ssh itself failed, and what to do about it. OpenSSH's messages are not translated, and have been the
// same for years.
import type { SshTarget } from './runner.ts';

/** The words after `ssh` by which a person would log in. */
export function loginName({ host, user }: SshTarget): string {
  return user === undefined ? host : `${user}@${host}`;
}

const refusal = /Session open refused by peer/;

const reasons: readonly (readonly [RegExp, (login: string) => string])[] = [
  [
    /REMOTE HOST IDENTIFICATION HAS CHANGED/,
    (login) =>
      `its host key is not the one in known_hosts; make sure that it is the right machine, then log in once by hand: ssh ${login}`,
  ],
  [
    /Host key verification failed|No \S+ host key is known/,
    (login) => `its host key is not known; log in once by hand and check it: ssh ${login}`,
  ],
  [
    /Permission denied \(|Too many authentication failures|No more authentication methods/,
    (login) =>
      `it refuses the login; this has to work without a password: ssh -o BatchMode=yes ${login} true`,
  ],
  [
    /no matching cipher found|Bad SSH2 cipher spec/,
    () =>
      'it and this ssh have no cipher of SSH_CIPHERS in common; SSH_CIPHERS = "" takes ssh\'s own',
  ],
  [/Could not resolve hostname/, () => 'its name cannot be resolved'],
  [/Connection refused/, () => 'nothing listens there (connection refused)'],
  [/No route to host|Network is unreachable/, () => 'there is no route to it'],
  [/timed out|Timeout, server|Operation timed out/, () => 'it does not answer'],
  [refusal, () => 'it allows too few sessions (MaxSessions of its sshd_config must be 2 or more)'],
];

// The forwarded socket did not exist yet: whoever uses it tries again, and reports that in better words.
const beforeItListened = /^channel \d+: open failed: connect failed: /;

/** Whether ssh says that the host accepts no more sessions on this connection (MaxSessions). */
export function isSessionRefusal(stderr: string): boolean {
  return refusal.test(stderr);
}

/**
 * Returns why a connection failed or ended.
 * @param stderr of ssh.
 * @param noise what stdout had in place of our script's answer.
 */
export function sshReason(target: SshTarget, stderr: string, noise = ''): string {
  for (const [pattern, words] of reasons) {
    if (pattern.test(stderr)) return words(loginName(target));
  }
  const lines = `${noise}\n${stderr}`
    .split(/\s*\n\s*/)
    .filter((line) => line !== '' && !beforeItListened.test(line));
  return lines.slice(-3).join('; ').slice(-500) || 'ssh ended without a message';
}
