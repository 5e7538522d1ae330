// virsh: reads a libvirt domain's facts and changes its state. Manual: virsh(1). The runner sets LC_ALL=C;
// text is parsed only where virsh has no better format.
import { attribute, child, childText, type XmlElement } from '../xml/xml.ts';
import { parseXml } from '../xml/xml-parse.ts';
import { CommandError, errorMessage, FailedError, UnsupportedError } from '../report/errors.ts';
import { object } from '../run/json-object.ts';
import { oneOf, parseShape } from '../run/json-shape.ts';
import type { Output, Runner, RunOptions } from '../run/runner.ts';

/** A domain of one libvirt. */
export interface Domain {
  readonly runner: Runner;
  /** For `virsh --connect`; empty for virsh's own default. */
  readonly uri: string;
  /** Its name or UUID, as in OpenNebula's DEPLOY_ID. */
  readonly name: string;
}

/** Returns the domain of that name. @throws UnsupportedError when it is not a possible name or UUID of a domain. */
export function domainAt(runner: Runner, uri: string, name: string): Domain {
  // The name comes from the VM's XML, and virsh must not read it as an option.
  if (/^[A-Za-z0-9_][A-Za-z0-9_.:+-]*$/.test(name)) return { runner, uri, name };
  throw new UnsupportedError(`${JSON.stringify(name)} is not the name of a libvirt domain`);
}

/** The arguments of virsh for one command. */
export function virshArgs(uri: string, ...args: readonly string[]): readonly string[] {
  return [...(uri === '' ? [] : ['--connect', uri]), ...args];
}

async function virsh(
  domain: Domain,
  args: readonly string[],
  options: RunOptions,
): Promise<Output & { readonly text: string }> {
  const command = { program: 'virsh', args: virshArgs(domain.uri, ...args) };
  const output = await domain.runner.run(command, options);
  return { ...output, text: output.stdout.toString() };
}

/** Returns the running domain's XML, with attributes. */
export async function dumpXml(domain: Domain): Promise<XmlElement> {
  const doing = `look at the domain ${domain.name}`;
  const { stdout } = await virsh(domain, ['dumpxml', domain.name], { doing });
  return parseXml(stdout, `libvirt's XML of the domain ${domain.name}`, { attributes: true });
}

/** Whether libvirt can run backup jobs for a running domain. @param xml as `dumpXml` returns it. */
export async function supportsBackup(domain: Domain, xml: XmlElement): Promise<boolean> {
  const devices = child(xml, 'devices');
  const os = child(xml, 'os');
  const machine = os && child(os, 'type');
  const options = {
    '--virttype': attribute(xml, 'type'),
    '--emulatorbin': devices && childText(devices, 'emulator'),
    '--arch': attribute(machine, 'arch'),
    '--machine': attribute(machine, 'machine'),
  };
  const words = Object.entries(options).flatMap(([option, value]) =>
    value === undefined || value === '' ? [] : [option, value],
  );
  const doing = `ask libvirt whether it can back up ${domain.name}`;
  const { stdout } = await virsh(domain, ['domcapabilities', ...words], { doing });
  const facts = parseXml(stdout, "libvirt's domain capabilities", { attributes: true });
  const features = child(facts, 'features');
  return attribute(features && child(features, 'backup'), 'supported') === 'yes';
}

/** Returns the state in libvirt's words (`running`, `paused`, `shut off`); undefined when there is no such domain. */
export async function domainState(domain: Domain): Promise<string | undefined> {
  const doing = `find the domain ${domain.name}`;
  const list = await virsh(domain, ['list', '--all', '--uuid', '--name'], { doing });
  const known = list.text.split(/\s+/).map((word) => word.toLowerCase());
  if (!known.includes(domain.name.toLowerCase())) return undefined;
  return (await virsh(domain, ['domstate', domain.name], { doing })).text.trim();
}

/** Whether QEMU has stopped the domain because a write failed, mostly for want of space. */
export async function isStoppedByIoError(domain: Domain): Promise<boolean> {
  const doing = `ask why the domain ${domain.name} is paused`;
  const { text } = await virsh(domain, ['domstate', '--reason', domain.name], { doing });
  return text.trim() === 'paused (I/O error)';
}

/** Returns the job that libvirt runs for the domain now, such as `Backup`; undefined for none. */
export async function activeJob(domain: Domain): Promise<string | undefined> {
  const doing = `ask for the jobs of the domain ${domain.name}`;
  const { text } = await virsh(domain, ['domjobinfo', domain.name], { doing });
  const [, type] = /^Job type:\s*(.*?)\s*$/m.exec(text) ?? [];
  if (type === undefined) throw new FailedError(`cannot ${doing}: virsh printed ${text.trim()}`);
  if (type === 'None') return undefined;
  return /^Operation:\s*(.*?)\s*$/m.exec(text)?.[1] ?? type;
}

/**
 * Sets how many seconds libvirt waits for the guest agent. Without `seconds` there is no limit, which is libvirt's
 * default.
 */
export async function setAgentTimeout(domain: Domain, seconds?: number): Promise<void> {
  const limit = seconds === undefined ? '-2' : String(seconds);
  await virsh(domain, ['guest-agent-timeout', domain.name, '--timeout', limit], {
    doing: `limit the time of the guest agent of ${domain.name}`,
  });
}

/** The agent answered that it is not allowed to freeze, so nothing is frozen. */
export class FreezeRefusedError extends FailedError {}

/** How long libvirt waits for the agent's answer to a question, in seconds. */
const answerSeconds = 5;

const answerShape = object({ return: oneOf('frozen', 'thawed') });

/**
 * Asks the guest agent whether the file systems are frozen; the answer also shows that the agent works. While they
 * are frozen, the agent answers only this, a ping and a thaw (QEMU, qga/main.c).
 * @throws FailedError with libvirt's reason when the agent does not answer, or is not allowed to.
 */
export async function fileSystemState(domain: Domain): Promise<'frozen' | 'thawed'> {
  const question = JSON.stringify({ execute: 'guest-fsfreeze-status' });
  const args = ['qemu-agent-command', '--timeout', String(answerSeconds), domain.name, question];
  const { status, stderr, text } = await virsh(domain, args, {
    doing: `reach the guest agent of ${domain.name}`,
    acceptStatus: [1],
  });
  const noAnswer = (why: string): FailedError =>
    new FailedError(
      `the guest agent does not answer: ${why.replaceAll(/\s*\n(?:error: )?/g, '; ')}`,
    );
  if (status !== 0) throw noAnswer(stderr.trim().replace(/^error: /, ''));
  return parseShape(answerShape, text, () => noAnswer(`it answered ${text.trim().slice(0, 200)}`))
    .return;
}

/**
 * Freezes the guest's file systems. @returns how many.
 * @throws FreezeRefusedError when the agent is not allowed to, for example because another tool has just frozen
 *   them; after any other error they may be frozen.
 */
export async function freezeFileSystems(domain: Domain): Promise<number> {
  const doing = `freeze the file systems of ${domain.name}`;
  try {
    const { text } = await virsh(domain, ['domfsfreeze', domain.name], { doing });
    return Number(/(\d+) filesystem/.exec(text)?.[1] ?? 0);
  } catch (error) {
    // Older agents say `disabled for this instance`, newer ones `the agent is in frozen state`. An agent
    // whose configuration forbids the command also says the former.
    const refused = /guest-fsfreeze-freeze\b.*(?:has been disabled|frozen state)/s;
    if (error instanceof CommandError && refused.test(error.stderr)) {
      throw new FreezeRefusedError(errorMessage(error), { cause: error });
    }
    throw error;
  }
}

/** The agent itself answered that it could not thaw: its freeze has failed, or has already ended. */
export class ThawRefusedError extends FailedError {}

/**
 * Thaws all file systems, and returns when that is done. It is not an error if no file system is frozen.
 * @returns how many file systems were frozen; undefined if virsh does not say.
 * @throws ThawRefusedError, from a Windows guest once after it has ended its freeze by itself (qga/vss-win32 of QEMU:
 *   "couldn't hold writes: fsfreeze is limited up to 10 seconds"); CommandError
 */
export async function thawFileSystems(domain: Domain): Promise<number | undefined> {
  const doing = `thaw the file systems of ${domain.name}`;
  try {
    const { text } = await virsh(domain, ['domfsthaw', domain.name], { doing });
    const count = /(\d+) filesystem/.exec(text)?.[1];
    return count === undefined ? undefined : Number(count);
  } catch (error) {
    const answered = "unable to execute QEMU agent command 'guest-fsfreeze-thaw'";
    if (error instanceof CommandError && error.stderr.includes(answered)) {
      throw new ThawRefusedError(errorMessage(error), { cause: error });
    }
    throw error;
  }
}

export async function suspendDomain(domain: Domain): Promise<void> {
  await virsh(domain, ['suspend', domain.name], { doing: `pause ${domain.name}` });
}

export async function resumeDomain(domain: Domain): Promise<void> {
  await virsh(domain, ['resume', domain.name], { doing: `resume ${domain.name}` });
}

/**
 * Begins the backup job that a file describes (a <domainbackup>). Its scratch files must exist: libvirt would create
 * them as root, and if it does not change owners, as on OpenNebula's hosts, QEMU could not open them.
 */
export async function beginBackup(domain: Domain, xmlPath: string): Promise<void> {
  const args = ['backup-begin', domain.name, '--reuse-external', '--backupxml', xmlPath];
  await virsh(domain, args, {
    doing: `begin a backup job of ${domain.name}`,
  });
}

/** Returns the socket of the domain's backup job; undefined when it has no such job. */
export async function backupJobSocket(domain: Domain): Promise<string | undefined> {
  const { status, stdout } = await virsh(domain, ['backup-dumpxml', domain.name], {
    doing: `ask for the backup job of ${domain.name}`,
    acceptStatus: [1],
  });
  if (status !== 0) return undefined;
  const what = `libvirt's XML of the backup job of ${domain.name}`;
  const job = parseXml(stdout, what, { attributes: true });
  return attribute(child(job, 'server'), 'socket') ?? '';
}

/** Ends the domain's job, of whatever kind. */
export async function abortJob(domain: Domain): Promise<void> {
  await virsh(domain, ['domjobabort', domain.name], { doing: `end the job of ${domain.name}` });
}
