// Sockets of a host that are reached through ssh.
import { ConnectionError, FailedError } from '../report/errors.ts';
import type { ForwardedSocket, Runner } from './runner.ts';

/**
 * Finds out why a forwarded socket cannot be connected to: a host that does not allow forwarding looks as if
 * nobody listened on the socket.
 * @throws ConnectionError when the socket exists on the host.
 */
export async function requireForwarding(runner: Runner, socket: string): Promise<void> {
  if (!runner.target) return;
  const { status } = await runner.run(
    { program: 'test', args: ['-S', socket] },
    { doing: `look for the socket ${socket}`, acceptStatus: [1] },
  );
  if (status !== 0) return;
  throw new ConnectionError(
    `the socket ${socket} of ${runner.where} cannot be reached through ssh: the connection was lost meanwhile, or its sshd_config does not allow it (AllowStreamLocalForwarding no, or DisableForwarding yes)`,
    { command: 'ssh -O forward' },
  );
}

/** Returns the error to report after reading `label` through the socket failed: the loss of the connection, if it was lost. */
export async function ifLost(
  error: unknown,
  forwarded: ForwardedSocket | undefined,
  label: string,
): Promise<unknown> {
  const lost = error instanceof FailedError ? await forwarded?.lost() : undefined;
  return lost ? new ConnectionError(`cannot read ${label}: ${lost.message}`, lost) : error;
}
