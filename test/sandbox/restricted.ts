// Attributes that only the administrators' group may use. Source: VM_RESTRICTED_ATTR of a 6.10.5 oned.conf;
// what concerns vCenter is left out.
import { unauthorized } from './failure.ts';
import type { Template } from './template.ts';
import { isAdmin } from './users.ts';
import type { User } from './users.ts';

const bandwidth = ['AVG_BW', 'PEAK_BW', 'PEAK_KB'].flatMap((one) => [
  `INBOUND_${one}`,
  `OUTBOUND_${one}`,
]);
const limits = ['BYTES', 'IOPS'].flatMap((unit) =>
  ['TOTAL', 'READ', 'WRITE'].flatMap((what) =>
    ['', '_MAX', '_MAX_LENGTH'].map((end) => `${what}_${unit}_SEC${end}`),
  ),
);
const filters = ['FILTER', 'FILTER_IP_SPOOFING', 'FILTER_MAC_SPOOFING'];

const vectors: Readonly<Record<string, readonly string[]>> = {
  CONTEXT: ['FILES'],
  DISK: [...limits, 'SIZE_IOPS_SEC', 'OPENNEBULA_MANAGED', 'ORIGINAL_SIZE', 'SIZE_PREV'],
  NIC: ['MAC', 'VLAN_ID', 'BRIDGE', ...filters, ...bandwidth, 'OPENNEBULA_MANAGED', 'EXTERNAL'],
  NIC_ALIAS: ['MAC', 'VLAN_ID', 'BRIDGE', ...bandwidth, 'OPENNEBULA_MANAGED'],
  NIC_DEFAULT: ['MAC', 'VLAN_ID', 'BRIDGE', 'FILTER', 'EXTERNAL'],
  RAW: ['DATA'],
  TOPOLOGY: ['PIN_POLICY', 'HUGEPAGE_SIZE'],
  USER_INPUTS: ['CPU', 'MEMORY', 'VCPU'],
};
const singles = [
  'DEPLOY_ID',
  'CPU_COST',
  'MEMORY_COST',
  'DISK_COST',
  'PCI',
  'EMULATOR',
  'USER_PRIORITY',
];

function restrictedIn(template: Template): string | undefined {
  for (const { name, value } of template.all()) {
    if (typeof value === 'string') {
      if (singles.includes(name)) return name;
      continue;
    }
    const found = vectors[name]?.find((one) => value.has(one));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** @throws Failure 512 when a plain user's template holds such an attribute. */
export function refuseRestricted(user: User, template: Template): void {
  const found = isAdmin(user) ? undefined : restrictedIn(template);
  if (found !== undefined) {
    throw unauthorized(user.id, `VM Template includes a restricted attribute ${found}`);
  }
}
