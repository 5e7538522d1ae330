// Attributes that ordinary users may not write into a VM template: VM_RESTRICTED_ATTR of oned.conf, such as NIC/MAC.
// oned refuses a whole template that contains one of them (Template.cc, check_restricted).
import { childrenOf } from '../xml/xml.ts';
import { askXml, isRefusal } from './answers.ts';
import type { OneClient } from './client.ts';

/**
 * All attributes of the default oned.conf of 6.4.7, 6.10.5 and 7.4.0, without those of vCenter. An empty list means the
 * whole attribute: 6.4 has RAW where later versions have RAW/DATA.
 */
const byDefault: Readonly<Record<string, readonly string[]>> = {
  CONTEXT: ['FILES'],
  NIC: [
    'MAC',
    'VLAN_ID',
    'BRIDGE',
    'FILTER',
    'FILTER_IP_SPOOFING',
    'FILTER_MAC_SPOOFING',
    'INBOUND_AVG_BW',
    'INBOUND_PEAK_BW',
    'INBOUND_PEAK_KB',
    'OUTBOUND_AVG_BW',
    'OUTBOUND_PEAK_BW',
    'OUTBOUND_PEAK_KB',
    'OPENNEBULA_MANAGED',
    'EXTERNAL',
    'VLAN_TAGGED_ID',
  ],
  NIC_ALIAS: [
    'MAC',
    'VLAN_ID',
    'BRIDGE',
    'INBOUND_AVG_BW',
    'INBOUND_PEAK_BW',
    'INBOUND_PEAK_KB',
    'OUTBOUND_AVG_BW',
    'OUTBOUND_PEAK_BW',
    'OUTBOUND_PEAK_KB',
    'OPENNEBULA_MANAGED',
  ],
  NIC_DEFAULT: ['MAC', 'VLAN_ID', 'BRIDGE', 'FILTER', 'EXTERNAL'],
  DISK: [
    'TOTAL_BYTES_SEC',
    'TOTAL_BYTES_SEC_MAX_LENGTH',
    'TOTAL_BYTES_SEC_MAX',
    'READ_BYTES_SEC',
    'READ_BYTES_SEC_MAX_LENGTH',
    'READ_BYTES_SEC_MAX',
    'WRITE_BYTES_SEC',
    'WRITE_BYTES_SEC_MAX_LENGTH',
    'WRITE_BYTES_SEC_MAX',
    'TOTAL_IOPS_SEC',
    'TOTAL_IOPS_SEC_MAX_LENGTH',
    'TOTAL_IOPS_SEC_MAX',
    'READ_IOPS_SEC',
    'READ_IOPS_SEC_MAX_LENGTH',
    'READ_IOPS_SEC_MAX',
    'WRITE_IOPS_SEC',
    'WRITE_IOPS_SEC_MAX_LENGTH',
    'WRITE_IOPS_SEC_MAX',
    'SIZE_IOPS_SEC',
    'OPENNEBULA_MANAGED',
    'ORIGINAL_SIZE',
    'SIZE_PREV',
  ],
  DEPLOY_ID: [],
  CPU_COST: [],
  MEMORY_COST: [],
  DISK_COST: [],
  PCI: [],
  EMULATOR: [],
  RAW: [],
  USER_PRIORITY: [],
  USER_INPUTS: ['CPU', 'MEMORY', 'VCPU'],
  TOPOLOGY: ['PIN_POLICY', 'HUGEPAGE_SIZE'],
};

const defaultList = Object.entries(byDefault).flatMap(([vector, names]) =>
  names.length === 0 ? [vector] : names.map((name) => `${vector}/${name}`),
);

/**
 * Returns oned's own list; the default list if oned does not show it to this user, as in 6.4 (RequestManagerSystem.cc).
 * @throws OpenNebulaError when oned does not answer
 */
export async function restrictedAttributes(client: OneClient): Promise<readonly string[]> {
  try {
    const config = await askXml(client, 'OPENNEBULA_CONFIGURATION', 'one.system.config');
    const told = childrenOf(config, 'VM_RESTRICTED_ATTR').map(({ text }) => text.trim());
    return told.length > 0 ? told : defaultList;
  } catch (error) {
    if (isRefusal(error)) return defaultList;
    throw error;
  }
}
