// Talks to the guest by its second serial port, past the guest agent, so that it can be asked while the
// agent hangs and the file systems are frozen. The other end is libvirt/guest-init.
import { connect } from 'node:net';
import { randomBytes } from 'node:crypto';
import { limits } from '../support/limits.ts';

export type GuestCommand =
  | 'ping'
  | 'number'
  | 'where-writer-waits'
  | 'hang-agent'
  | 'resume-agent'
  | 'stop-agent'
  | 'start-agent'
  | 'pause-writer'
  | 'continue-writer'
  | `load-start ${string} ${number} ${number | ''}`
  | 'load-stop'
  | 'load-written'
  | 'kernel-errors'
  | 'power-off';

/**
 * Sends one command and gives the answer. `path` is the Unix socket of the port; QEMU serves one
 * connection at a time and lets others wait.
 * @throws Error when the guest refuses, or does not answer in time
 */
export async function askGuest(path: string, command: GuestCommand): Promise<string> {
  // The answer to a question that an earlier caller gave up on has another id.
  const id = randomBytes(4).toString('hex');
  const answer = await exchange(path, `${id} ${command}\n`, `${id} `);
  if (answer === 'failed') throw new Error(`the guest failed to ${command}: see its console`);
  return answer;
}

/** Sends a line and waits for the line that begins with `prefix`; gives what follows it. */
function exchange(path: string, line: string, prefix: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let received = '';
    const end = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(
      () =>
        end(
          new Error(`the guest did not answer ${line.trim()} within ${limits.programMs / 1000} s`),
        ),
      limits.programMs,
    );
    socket.on('connect', () => socket.write(line));
    socket.on('data', (data) => {
      received += data.toString();
      const found = received
        .split('\n')
        .slice(0, -1)
        .find((one) => one.startsWith(prefix));
      if (found === undefined) return;
      clearTimeout(timer);
      socket.end();
      resolve(found.slice(prefix.length).trimEnd());
    });
    socket.on('error', end);
    socket.on('close', () => end(new Error(`the guest's control port at ${path} was closed`)));
  });
}
