// The arguments of ssh. How a host is reached is left to the user's own ssh configuration: port, key, jump host,
// and above all how host keys are checked.
import { loginLine } from './remote-script.ts';
import type { SshTarget } from './runner.ts';

/** How long a host may take to answer, and how long a connection may be silent before it is treated as lost. */
const connectSeconds = 15;
const aliveSeconds = 15;
const aliveCount = 4;

/** The arguments of the one connection to a host; `control` is the path of its socket. */
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
    // Bundles are already compressed, and disks are read faster than ssh can compress.
    Compression: 'no',
    // Forward nothing to the host, and ignore the user's own forwardings.
    ForwardAgent: 'no',
    ForwardX11: 'no',
    ClearAllForwardings: 'yes',
    Tunnel: 'no',
    PermitLocalCommand: 'no',
    RemoteCommand: 'none',
    RequestTTY: 'no',
    // The lowest level that says why a channel cannot be opened.
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

/** Arguments that make ssh use that connection, and never open one of its own. */
function throughMaster(control: string): readonly string[] {
  return ['-F', 'none', '-S', control, '-o', 'ControlMaster=no', '-o', 'ProxyCommand=false'];
}

/** The arguments of a command on the host. */
export function sessionArgs({ host }: SshTarget, control: string): readonly string[] {
  return [...throughMaster(control), '-T', '-x', '-a', '--', host, loginLine];
}

/**
 * The arguments that forward a local socket to one on the host.
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
