// RAW of a template: oned checks its DATA when the template is stored and when a VM is made.
// Source: VirtualMachineManager::validate_raw and LibVirtDriver::validate_raw, read in 6.4.7, 6.10.5 and 7.4.0.
// oned holds DATA against libvirt's schema of a domain; here it must only be well-formed XML.
import type { Template } from './template.ts';
import { parseXml, XmlError } from './xml-tree.ts';

const drivers = ['kvm', 'qemu', 'lxc', 'dummy'];

/** @throws what `refusal` makes of oned's reason. */
export function requireValidRaw(template: Template, refusal: (reason: string) => Error): void {
  const [raw] = template.vectors('RAW');
  if (!raw) return;
  const validate = (raw.get('VALIDATE') || 'YES').toUpperCase();
  if (validate !== 'YES') return;
  const type = (raw.get('TYPE') ?? '').toLowerCase();
  if (!drivers.includes(type)) throw refusal('Invalid RAW section: unsupported TYPE');
  if (type !== 'kvm' && type !== 'qemu') return;
  try {
    parseXml(`<domain><name>aux</name>${raw.get('DATA') ?? ''}</domain>`);
  } catch (error) {
    if (!(error instanceof XmlError)) throw error;
    throw refusal('Invalid RAW section: cannot validate DATA with domain.rng schema');
  }
}
