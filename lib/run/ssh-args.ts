// The arguments of ssh. Where a host is and who one is there is the user's own ssh configuration's to say:
// port, key, jump host, and above all how host keys are checked.
import { loginLine } from './remote-script.ts';
import type { SshTarget } from './runner.ts';

/** How long a host may take to answer, and how long a connection may be silent before it is given up. */
const connectSeconds = 15;
const aliveSeconds = 15;
const aliveCount = 4;

/** Of the one connection to a host; `control` is the path of its socket. */
export function masterArgs(
  { host, user }: SshTarget,
  control: string,
  ciphers: string,
): readonly string[] {
  const options = {
    BatchMode: 'yes',
    ConnectTimeout: connectSeconds,
    ServerAliveInterval: aliveSeconds,
    ServerAliveCountMax: aliveCount,
    ControlMaster: 'yes',
    ControlPersist: 'no',
    // Bundles are compressed already, and disks faster than ssh can compress them.
    Compression: 'no',
    // Nothing of ours is for the host to use, and nothing of a user's own for us.
    ForwardAgent: 'no',
    ForwardX11: 'no',
    ClearAllForwardings: 'yes',
    Tunnel: 'no',
    PermitLocalCommand: 'no',
    RemoteCommand: 'none',
    RequestTTY: 'no',
    // Why a channel cannot be opened is told from here on.
    LogLevel: 'INFO',
  };
  return [
    '-S',
    control,
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...(ciphers === '' ? [] : ['-o', `Ciphers=${ciphers}`]),
    ...(user === undefined ? [] : ['-l', user]),
    '--',
    host,
    loginLine,
  ];
}

/** Of everything that goes through that connection, and never makes one of its own. */
function throughMaster(control: string): readonly string[] {
  return ['-F', 'none', '-S', control, '-o', 'ControlMaster=no', '-o', 'ProxyCommand=false'];
}

/** Of a command on the host. */
export function sessionArgs({ host }: SshTarget, control: string): readonly string[] {
  return [...throughMaster(control), '-T', '-x', '-a', '--', host, loginLine];
}

/**
 * Of the order to lead from a local socket to one on the host.
 * @param local a plain path.
 */
export function forwardArgs(
  { host }: SshTarget,
  control: string,
  local: string,
  remote: string,
): readonly string[] {
  const escaped = remote.replaceAll(/[\\:]/g, String.raw`\$&`);
  return [...throughMaster(control), '-O', 'forward', '-L', `${local}:${escaped}`, '--', host];
}
