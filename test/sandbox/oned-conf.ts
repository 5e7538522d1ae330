// What the oned.conf of a fresh installation says about templates: attributes that only the administrators'
// group may use, and attributes that a NIC takes over from its network.
// Source: share/etc/oned.conf of the tags release-6.4.7, release-6.10.5 and release-7.4.0. Which minor release
// brought a difference was read in the tags between them.
import type { Release } from './release.ts';

const bandwidth = ['INBOUND', 'OUTBOUND'].flatMap((way) =>
  ['AVG_BW', 'PEAK_BW', 'PEAK_KB'].map((what) => `${way}_${what}`),
);
const limits = ['BYTES', 'IOPS'].flatMap((unit) =>
  ['TOTAL', 'READ', 'WRITE'].flatMap((what) =>
    ['', '_MAX_LENGTH', '_MAX'].map((end) => `${what}_${unit}_SEC${end}`),
  ),
);
const filters = ['FILTER', 'FILTER_IP_SPOOFING', 'FILTER_MAC_SPOOFING'];

/** VM_RESTRICTED_ATTR: a name, or a vector's name, a slash and the name inside. */
export function vmRestrictedAttributes(release: Release): readonly string[] {
  // vCenter left OpenNebula with 7.0.
  const vcenter = (names: readonly string[]): readonly string[] =>
    release.atLeast('7.0.0') ? [] : names.map((name) => `VCENTER_${name}`);
  const port = vcenter(['INSTANCE_ID', 'NET_REF', 'PORTGROUP_TYPE']);
  const inside: Readonly<Record<string, readonly string[]>> = {
    CONTEXT: ['FILES'],
    NIC: [
      ...['MAC', 'VLAN_ID', 'BRIDGE'],
      ...[...filters, ...bandwidth, 'OPENNEBULA_MANAGED', ...port, 'EXTERNAL'],
      ...(release.atLeast('7.0.0') ? ['VLAN_TAGGED_ID'] : []),
    ],
    NIC_ALIAS: ['MAC', 'VLAN_ID', 'BRIDGE', ...bandwidth, 'OPENNEBULA_MANAGED', ...port],
    NIC_DEFAULT: ['MAC', 'VLAN_ID', 'BRIDGE', 'FILTER', 'EXTERNAL'],
    DISK: [
      ...[...limits, 'SIZE_IOPS_SEC', 'OPENNEBULA_MANAGED'],
      ...[...vcenter(['DS_REF', 'INSTANCE_ID']), 'ORIGINAL_SIZE', 'SIZE_PREV'],
    ],
    USER_INPUTS: ['CPU', 'MEMORY', 'VCPU'],
    TOPOLOGY: ['PIN_POLICY', 'HUGEPAGE_SIZE'],
  };
  return [
    ...Object.entries(inside).flatMap(([name, parts]) => parts.map((part) => `${name}/${part}`)),
    ...['DEPLOY_ID', 'CPU_COST', 'MEMORY_COST', 'DISK_COST', 'PCI', 'EMULATOR'],
    release.atLeast('6.10.0') ? 'RAW/DATA' : 'RAW',
    ...['USER_PRIORITY', ...vcenter(['VM_FOLDER', 'ESX_HOST'])],
  ];
}

/** IMAGE_RESTRICTED_ATTR. */
export function imageRestrictedAttributes(release: Release): readonly string[] {
  return release.atLeast('7.0.0') ? ['SOURCE'] : ['SOURCE', 'VCENTER_IMPORTED'];
}

/** INHERIT_VNET_ATTR. */
export function inheritedNetworkAttributes(release: Release): readonly string[] {
  return [
    ...['VLAN_TAGGED_ID', ...filters, 'MTU', 'METRIC', 'IP6_METRIC', 'METHOD', 'IP6_METHOD'],
    ...[...bandwidth, 'CONF', 'BRIDGE_CONF', 'OVS_BRIDGE_CONF', 'IP_LINK_CONF', 'EXTERNAL_IP'],
    ...['AWS_ALLOCATION_ID', 'VULTR_IP_ID', 'GATEWAY'],
    ...(release.atLeast('6.10.0') ? ['DNS'] : []),
    ...['VXLAN_MODE', 'VXLAN_TEP', 'VXLAN_MC', 'CVLANS', 'QINQ_TYPE'],
    ...(release.atLeast('6.6.0') ? ['TRUST', 'SPOOFCHK'] : []),
  ];
}
