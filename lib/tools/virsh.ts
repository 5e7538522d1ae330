// virsh: reads a libvirt domain's facts and changes its state; what it sends to the guest agent is in fsfreeze.ts.
// Manual: virsh(1). The runner sets LC_ALL=C; text is parsed only where virsh has no better format.
import { attribute, child, childText, type XmlElement } from '../xml/xml.ts';
import { parseXml } from '../xml/xml-parse.ts';
import { errorMessage, UnsupportedError } from '../report/errors.ts';
import type { Output, Runner, RunOptions } from '../run/runner.ts';
import { unexpectedOutput } from '../run/unexpected-output.ts';

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

/** Runs one command of virsh. @returns what it printed, also as `text` */
export async function virsh(
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
  return xmlOf(stdout, 'domain', doing);
}

/** The XML that virsh has printed, with attributes. @throws CommandError when it is not XML with this root element */
function xmlOf(stdout: Buffer, rootName: string, doing: string): XmlElement {
  let root: XmlElement;
  try {
    root = parseXml(stdout, 'it', { attributes: true });
  } catch (error) {
    throw unexpectedOutput('virsh', doing, { stdout, why: errorMessage(error) });
  }
  if (root.name === rootName) return root;
  throw unexpectedOutput('virsh', doing, { stdout, why: `the element is not <${rootName}>` });
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
  const facts = xmlOf(stdout, 'domainCapabilities', doing);
  const features = child(facts, 'features');
  return attribute(features && child(features, 'backup'), 'supported') === 'yes';
}

/** Returns the version of the QEMU that libvirt starts, such as `7.2.22`; undefined when libvirt does not say. */
export async function qemuVersion(domain: Domain): Promise<string | undefined> {
  const { text } = await virsh(domain, ['version'], { doing: 'ask for the version of QEMU' });
  return /^Running hypervisor: QEMU ([0-9.]+)$/m.exec(text)?.[1];
}

/** In the words of virsh (virshDomainStateToString). */
const states = [
  ...['no state', 'running', 'idle', 'paused'],
  ...['in shutdown', 'shut off', 'crashed', 'pmsuspended'],
];

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Returns the state in libvirt's words (`running`, `paused`, `shut off`); undefined when there is no such domain.
 * @throws CommandError when virsh fails, or prints anything else
 */
export async function domainState(domain: Domain): Promise<string | undefined> {
  const doing = `find the domain ${domain.name}`;
  const list = await virsh(domain, ['list', '--all', '--uuid', '--name'], { doing });
  const known = list.text.split(/\s+/).map((word) => word.toLowerCase());
  if (!known.includes(domain.name.toLowerCase())) {
    if (list.text.trim() === '' || known.some((word) => uuid.test(word))) return undefined;
    throw unexpectedOutput('virsh', doing, list);
  }
  const output = await virsh(domain, ['domstate', domain.name], { doing });
  const state = output.text.trim();
  if (states.includes(state)) return state;
  throw unexpectedOutput('virsh', doing, output);
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
  const output = await virsh(domain, ['domjobinfo', domain.name], { doing });
  const { text } = output;
  const [, type] = /^Job type:\s*(.*?)\s*$/m.exec(text) ?? [];
  if (type === undefined) throw unexpectedOutput('virsh', doing, output);
  if (type === 'None') return undefined;
  return /^Operation:\s*(.*?)\s*$/m.exec(text)?.[1] ?? type;
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
  const doing = `ask for the backup job of ${domain.name}`;
  const { status, stdout } = await virsh(domain, ['backup-dumpxml', domain.name], {
    doing,
    acceptStatus: [1],
  });
  if (status !== 0) return undefined;
  const job = xmlOf(stdout, 'domainbackup', doing);
  return attribute(child(job, 'server'), 'socket') ?? '';
}

/** Ends the domain's job, of whatever kind. */
export async function abortJob(domain: Domain): Promise<void> {
  await virsh(domain, ['domjobabort', domain.name], { doing: `end the job of ${domain.name}` });
}
