// The table of the attributes that a restored template keeps, leaves out or rewrites, each with the reason and the file of
// OpenNebula's sources that it follows from (releases 6.4.7 to 7.4.0; the releases are named when only some have the file).
// attribute-rules.ts interprets it. An attribute that no rule names is the user's: it is kept, unless its section says
// otherwise.
import { textIn } from '../xml/xml.ts';
import type { XmlElement } from '../xml/xml.ts';
import { isYes, type Section } from './attribute-rules.ts';

/** The attributes that oned writes into CONTEXT for each NIC, alias and PCI NIC (VirtualMachineContext.cc). */
const contextOfNic = [
  ...['IP', 'MAC', 'MASK', 'NETWORK', 'GATEWAY', 'DNS', 'SEARCH_DOMAIN', 'MTU', 'METRIC', 'METHOD'],
  ...['VLAN_ID', 'VROUTER_IP', 'VROUTER_MANAGEMENT', 'EXTERNAL', 'ROUTES', 'IP6', 'IP6_ULA'],
  ...['GATEWAY6', 'IP6_GATEWAY', 'IP6_METRIC', 'IP6_METHOD', 'IP6_PREFIX_LENGTH', 'VROUTER_IP6'],
];

const chosenDevice = 'the device that was chosen on the old host';
const copiedFromDatastore = 'copied again from the datastore';
const copiedFromImage = 'copied again from the image';
const copiedFromNetwork = 'copied again from the network';
const noVrouter = 'a restored VM belongs to no virtual router';
const pastState = 'a state of the past';
const template = 'src/vm/VirtualMachine.cc';
const parser = 'src/vm/VirtualMachineParser.cc';
const context = 'src/vm/VirtualMachineContext.cc';
const disk = 'src/vm/VirtualMachineDisk.cc';
const image = 'src/image/Image.cc';
const datastore = 'src/datastore/Datastore.cc';
const nic = 'src/vm/VirtualMachineNic.cc';
const network = 'src/vnm/VirtualNetwork.cc';
const range = 'src/vnm/AddressRange.cc';
const pci = 'src/host/HostSharePCI.cc';
const numa = 'src/host/HostShareNUMA.cc';
const backups = 'src/vm/Backups.cc';
const domain = 'src/vmm/LibVirtDriverKVM.cc';
const inherit = 'share/etc/oned.conf, INHERIT_';

export const attributeTable = {
  /** TEMPLATE, and the attributes of USER_TEMPLATE that TEMPLATE does not have. */
  TEMPLATE: {
    otherwise: 'kept',
    // prettier-ignore
    rules: [
      { names: ['DISK'], fate: 'rewritten', reason: 'made of the restored images', source: disk },
      { names: ['NIC', 'NIC_ALIAS'], fate: 'rewritten', reason: 'only with --restore-nics', source: nic },
      { names: ['PCI'], fate: 'rewritten', host: 'gives the VM a device of the host', reason: 'asks for such a device again; of TYPE NIC as a NIC', source: pci },
      { names: ['OS'], fate: 'rewritten', reason: 'the boot order names disks and NICs by number', source: template },
      { names: ['GRAPHICS'], fate: 'rewritten', reason: 'oned writes port and password into it', source: parser },
      { names: ['CONTEXT'], fate: 'rewritten', reason: 'oned evaluates its values again', source: context },
      { names: ['TOPOLOGY', 'NUMA_NODE'], fate: 'rewritten', reason: 'oned stores more than it takes, and in other units', source: parser },
      { names: ['SCHED_ACTION'], fate: 'rewritten', reason: 'only future ones: oned would run a past one at once', source: 'src/sam/ScheduledAction.cc' },
      { names: ['BACKUP_CONFIG'], fate: 'rewritten', reason: 'BACKUPS has it, with the bookkeeping of the old backups', source: backups },
      { names: ['SCHED_REQUIREMENTS', 'REQUIREMENTS'], fate: 'rewritten', reason: 'oned evaluates them again', source: parser },
      { names: ['RAW'], fate: 'kept', host: 'is given to libvirt on the host as it is', reason: 'of the user', source: domain },
      { names: ['HYPERV_OPTIONS', 'SPICE_OPTIONS'], fate: 'kept', host: 'is given to libvirt on the host as it is', reason: 'of the user', source: domain },
      { names: ['EMULATOR'], fate: 'kept', host: 'is a program that the host runs', reason: 'of the user', source: domain },
      { names: ['NAME'], fate: 'left out', reason: 'the restored VM has its own', source: template },
      { names: ['VMID', 'TEMPLATE_ID', 'TEMPLATE_NAME', 'CLONING_TEMPLATE_ID'], fate: 'left out', reason: 'where the old VM came from', source: template },
      { names: ['DEPLOY_ID', 'IMPORT_VM_ID', 'IMPORTED'], fate: 'left out', reason: 'would tie the new VM to a domain that exists', source: template },
      { names: ['AS_UID', 'AS_GID'], fate: 'left out', reason: 'would make the VM of another user; no VM has it', source: 'src/rm/RequestManagerVMTemplate.cc' },
      { names: ['CREATED_BY'], fate: 'left out', reason: 'who made the old VM; written where CONTEXT/TOKEN is YES', source: context },
      { names: ['SUBMIT_ON_HOLD'], fate: 'left out', reason: 'how the old VM was submitted', source: template },
      { names: ['TM_MAD_SYSTEM'], fate: 'left out', reason: 'follows the datastores of the new VM', source: template },
      { names: ['AUTOMATIC_REQUIREMENTS', 'AUTOMATIC_DS_REQUIREMENTS', 'AUTOMATIC_NIC_REQUIREMENTS'], fate: 'left out', reason: 'computed by oned', source: template },
      { names: ['RESIZE'], fate: 'left out', reason: 'the sizes of a resize that was running', source: template },
      { names: ['VNET_UPDATE'], fate: 'left out', reason: 'a change of NICs that was running (6.8 and newer)', source: template },
      { names: ['QEMU_GA_EXEC'], fate: 'left out', reason: 'the last command run in the old guest, and its output (7.2 and newer)', source: template },
      { names: ['SNAPSHOT'], fate: 'left out', reason: 'system snapshots are part of the old domain', source: 'src/vm/VirtualMachineSystemSnapshot.cc' },
      { names: ['SECURITY_GROUP_RULE'], fate: 'left out', reason: 'copied by oned from the security groups of the NICs', source: nic },
      { names: ['TPM_STATE', 'ONEVMDUMP_NVRAM'], fate: 'left out', reason: 'of an earlier restore; the bundle has what is newer', source: 'src/vmm_mad/remotes/kvm/deploy' },
      { names: ['ERROR', 'SCHED_MESSAGE'], fate: 'left out', reason: 'a message of the past', source: template },
      { names: ['VROUTER_ID', 'VROUTER_KEEPALIVED_ID', 'VROUTER_KEEPALIVED_PASSWORD'], fate: 'left out', reason: noVrouter, source: 'src/vrouter/VirtualRouter.cc' },
      { names: ['SERVICE_ID', 'ROLE_NAME'], fate: 'left out', reason: 'a restored VM belongs to no service, and must not read its data', source: 'src/flow/lib/models/role.rb' },
      { names: ['ONEVMDUMP_CONTEXT_*', 'ONEVMDUMP_SCHED_*'], fate: 'left out', reason: 'made by an earlier restore, and made again where needed (dollars.ts)', source: parser },
    ],
  },

  DISK: {
    otherwise: 'kept',
    // prettier-ignore
    rules: [
      { names: ['IMAGE_ID'], fate: 'left out', reason: 'the restored image has its own', source: image },
      { names: ['IMAGE', 'IMAGE_UID', 'IMAGE_UNAME', 'IMAGE_STATE'], fate: 'left out', reason: 'the restored image has its own', source: image },
      { names: ['DISK_ID'], fate: 'left out', reason: 'oned numbers the disks from 0, in order', source: disk },
      { names: ['TYPE', 'FORMAT', 'SIZE'], fate: 'left out', when: (_, { fromImage }) => fromImage, reason: copiedFromImage, source: image },
      { names: ['FS', 'FSTYPE'], fate: 'left out', when: (_, { fromImage }) => fromImage, reason: 'would have oned make an empty disk', source: disk },
      { names: ['READONLY'], fate: 'left out', when: (vector) => !isYes(vector, 'READONLY') || /CDROM/i.test(textIn(vector, 'TYPE')), reason: copiedFromImage, source: image },
      { names: ['CLONE', 'SAVE', 'PERSISTENT', 'SHAREABLE', 'DRIVER', 'SOURCE', 'ORIGINAL_SIZE'], fate: 'left out', reason: copiedFromImage, source: image },
      { names: ['LUKS_SECRET', 'SERIAL', 'MOUNT_POINT', 'MOUNT_TAG'], fate: 'kept', reason: 'the guest needs the same again, whatever the new image says', source: `${inherit}IMAGE_ATTR` },
      { names: ['ISCSI_HOST', 'ISCSI_IQN', 'ISCSI_USAGE', 'ISCSI_USER'], fate: 'left out', reason: copiedFromImage, source: `${inherit}IMAGE_ATTR` },
      { names: ['DATASTORE', 'DATASTORE_ID', 'TM_MAD', 'TM_MAD_SYSTEM', 'CLUSTER_ID', 'CLONE_TARGET', 'LN_TARGET', 'DISK_TYPE'], fate: 'left out', reason: copiedFromDatastore, source: datastore },
      { names: ['ALLOW_ORPHANS', 'BRIDGE_LIST', 'CEPH_CONF', 'CEPH_HOST', 'CEPH_KEY', 'CEPH_SECRET', 'CEPH_TRASH', 'CEPH_USER', 'GLUSTER_HOST', 'GLUSTER_VOLUME', 'LVM_THIN_ENABLE', 'PERSISTENT_SNAPSHOTS', 'POOL_NAME', 'QCOW2_STANDALONE', 'RBD_FORMAT', 'SPARSE', 'VG_NAME'], fate: 'left out', reason: copiedFromDatastore, source: `${inherit}DATASTORE_ATTR` },
      { names: ['VCENTER_*'], fate: 'left out', reason: copiedFromDatastore, source: `${inherit}DATASTORE_ATTR` },
      { names: ['DISK_SNAPSHOT_ACTIVE', 'DISK_SNAPSHOT_ID', 'DISK_SNAPSHOT_TOTAL_SIZE'], fate: 'left out', reason: 'a bundle has no snapshots', source: disk },
      { names: ['ATTACH', 'CLONING', 'RESIZE', 'SIZE_PREV', 'HOTPLUG_SAVE_AS', 'HOTPLUG_SAVE_AS_*'], fate: 'left out', reason: pastState, source: disk },
      { names: ['ORDER'], fate: 'left out', reason: 'computed from OS/BOOT', source: template },
      { names: ['OPENNEBULA_MANAGED'], fate: 'left out', reason: 'written by oned', source: disk },
    ],
  },

  /** NIC, NIC_ALIAS, and PCI of TYPE NIC (together with the rules of PCI). */
  NIC: {
    otherwise: 'kept',
    // prettier-ignore
    rules: [
      { names: ['IP', 'IP6', 'MAC'], fate: 'rewritten', reason: 'oned takes one of them: the first that the NIC has', source: network },
      { names: ['NETWORK_ID'], fate: 'rewritten', reason: '--map-network', source: network },
      { names: ['NAME'], fate: 'rewritten', reason: 'oned gives names like NIC0 itself, and renames a NIC that asks for one', source: 'include/VirtualMachineNic.h' },
      { names: ['PARENT'], fate: 'rewritten', reason: 'the name that the parent has then', source: nic },
      { names: ['NETWORK', 'NETWORK_UID', 'NETWORK_UNAME'], fate: 'left out', when: hasNetworkId, reason: 'NETWORK_ID says it without doubt', source: network },
      { names: ['NETWORK_MODE', 'SCHED_RANK', 'SCHED_REQUIREMENTS'], fate: 'left out', when: hasNetworkId, reason: 'the scheduler has chosen a network; it takes no NIC that has one', source: template },
      { names: ['NIC_ID', 'PCI_ID', 'ALIAS_ID', 'ALIAS_IDS', 'PARENT_ID'], fate: 'left out', reason: 'oned numbers NICs, PCI NICs and aliases in order', source: nic },
      { names: ['AR_ID', 'SHARED', 'IP6_GLOBAL', 'IP6_LINK', 'IP6_ULA', 'EXTERNAL_PORT_RANGE', 'INTERNAL_PORT_RANGE'], fate: 'left out', reason: 'follows from the address', source: range },
      { names: ['BRIDGE', 'BRIDGE_TYPE', 'CLUSTER_ID', 'OUTER_VLAN_ID', 'PARENT_NETWORK_ID', 'PHYDEV', 'VLAN_ID', 'VN_MAD'], fate: 'left out', reason: copiedFromNetwork, source: network },
      { names: ['TARGET'], fate: 'left out', reason: 'the name of the old interface on the host', source: network },
      { names: ['FILTER', 'FILTER_IP_SPOOFING', 'FILTER_MAC_SPOOFING', 'INBOUND_AVG_BW', 'INBOUND_PEAK_BW', 'INBOUND_PEAK_KB', 'OUTBOUND_AVG_BW', 'OUTBOUND_PEAK_BW', 'OUTBOUND_PEAK_KB'], fate: 'left out', reason: copiedFromNetwork, source: `${inherit}VNET_ATTR` },
      { names: ['VLAN_TAGGED_ID', 'MTU', 'CONF', 'BRIDGE_CONF', 'OVS_BRIDGE_CONF', 'IP_LINK_CONF', 'EXTERNAL_IP', 'AWS_ALLOCATION_ID', 'VULTR_IP_ID', 'VXLAN_MODE', 'VXLAN_TEP', 'VXLAN_MC', 'CVLANS', 'QINQ_TYPE', 'TRUST', 'SPOOFCHK', 'VCENTER_*'], fate: 'left out', reason: copiedFromNetwork, source: `${inherit}VNET_ATTR` },
      { names: ['GATEWAY', 'DNS', 'METRIC', 'METHOD', 'IP6_METRIC', 'IP6_METHOD'], fate: 'left out', when: (_, { otherNetwork }) => otherNetwork, reason: 'network settings of the guest: a user may set them for one NIC, else oned has copied them', source: `${inherit}VNET_ATTR` },
      { names: ['GATEWAY6', 'GUEST_MTU', 'NETWORK_ADDRESS', 'NETWORK_MASK', 'PREFIX_LENGTH', 'ROUTES', 'SEARCH_DOMAIN', 'SECURITY_GROUPS'], fate: 'left out', when: (_, { otherNetwork }) => otherNetwork, reason: 'of the network that the NIC had', source: network },
      { names: ['SCRIPT'], fate: 'kept', host: 'is a program that the host runs', reason: 'of the user', source: domain },
      { names: ['ORDER'], fate: 'left out', reason: 'computed from OS/BOOT', source: template },
      { names: ['ATTACH'], fate: 'left out', reason: pastState, source: nic },
      { names: ['FLOATING_IP', 'FLOATING_ONLY', 'VROUTER_*'], fate: 'left out', reason: noVrouter, source: 'src/vrouter/VirtualRouter.cc' },
      { names: ['OPENNEBULA_MANAGED'], fate: 'left out', reason: 'written by oned', source: nic },
    ],
  },

  PCI: {
    otherwise: 'kept',
    // prettier-ignore
    rules: [
      { names: ['DOMAIN', 'BUS', 'SLOT', 'FUNCTION', 'ADDRESS', 'PREV_ADDRESS', 'NUMA_NODE', 'UUID', 'MDEV_MODE'], fate: 'left out', reason: chosenDevice, source: pci },
      { names: ['SHORT_ADDRESS'], fate: 'left out', when: (vector) => ['VENDOR', 'DEVICE', 'CLASS'].some((name) => textIn(vector, name) !== ''), reason: 'oned writes it beside VENDOR, DEVICE and CLASS (6.6 and newer), but takes only the one or the others', source: parser },
      { names: ['PCI_ID'], fate: 'left out', reason: 'oned numbers the devices in order', source: parser },
      { names: ['VM_ADDRESS', 'VM_BUS', 'VM_BUS_INDEX', 'VM_DOMAIN', 'VM_FUNCTION', 'VM_SLOT'], fate: 'left out', reason: 'given by oned', source: pci },
      { names: ['ATTACH'], fate: 'left out', reason: pastState, source: template },
    ],
  },

  CONTEXT: {
    otherwise: 'rewritten',
    // prettier-ignore
    rules: [
      { names: ['DISK_ID'], fate: 'left out', reason: 'the number of the context disk, given by oned', source: disk },
      { names: ['TARGET'], fate: 'kept', reason: 'the device that the guest knows', source: disk },
      { names: ['VMID', 'VM_ID', 'ONEGATE_ENDPOINT'], fate: 'left out', reason: 'written again where TOKEN is YES', source: context },
      { names: ['VROUTER_ID', 'VROUTER_KEEPALIVED_ID', 'VROUTER_KEEPALIVED_PASSWORD'], fate: 'left out', reason: noVrouter, source: context },
      { names: contextOfNic.flatMap((name) => [`ETH#_${name}`, `ETH#_ALIAS#_${name}`, `PCI#_${name}`]), fate: 'left out', when: (vector) => isYes(vector, 'NETWORK'), reason: 'written again from the NICs where NETWORK is YES', source: context },
      { names: ['ETH#_VROUTER_*', 'ETH#_ALIAS#_VROUTER_*', 'PCI#_VROUTER_*'], fate: 'left out', reason: noVrouter, source: context },
      { names: ['PCI#_ADDRESS', 'DISK#_MOUNT_POINT', 'DISK#_MOUNT_TAG'], fate: 'left out', reason: 'written again from the devices', source: context },
      { names: ['FILES_DS'], fate: 'rewritten', reason: 'oned stores the paths of the files, and takes only $FILE[...]', source: context },
      { names: ['FILES'], fate: 'rewritten', host: 'are files of the front-end that the VM can read', reason: 'of the user', source: context },
    ],
  },

  OS: {
    otherwise: 'kept',
    // prettier-ignore
    rules: [
      { names: ['BOOT'], fate: 'rewritten', reason: 'the numbers that disks and NICs have then; oned refuses others', source: template },
      { names: ['UUID'], fate: 'left out', reason: 'identifies the old domain; two VMs must not share it', source: parser },
      { names: ['MACHINE'], fate: 'kept', reason: '7.4 writes the default of its driver where the template has none, and nothing tells the two apart; the guest was installed on that machine', source: parser },
      { names: ['KERNEL_DS', 'INITRD_DS'], fate: 'rewritten', reason: 'a name alone would be looked for among the images of the user who restores', source: parser },
      { names: ['KERNEL_DS_*', 'INITRD_DS_*'], fate: 'left out', reason: 'where the file was found', source: parser },
      { names: ['KERNEL', 'INITRD', 'BOOTLOADER', 'ROOT'], fate: 'kept', host: 'is a file of the host', reason: 'of the user', source: domain },
    ],
  },

  GRAPHICS: {
    otherwise: 'kept',
    // prettier-ignore
    rules: [
      { names: ['PORT'], fate: 'left out', reason: 'given by oned; the old VM may still have it', source: 'src/vm/VirtualMachine.cc' },
      { names: ['PASSWD'], fate: 'left out', when: (vector) => isYes(vector, 'RANDOM_PASSWD'), reason: 'made by oned, which makes a new one', source: parser },
    ],
  },

  TOPOLOGY: {
    otherwise: 'kept',
    // prettier-ignore
    rules: [
      { names: ['NODES'], fate: 'left out', reason: 'computed by oned', source: numa },
      { names: ['PIN_POLICY'], fate: 'left out', when: (vector) => textIn(vector, 'PIN_POLICY').toUpperCase() === 'NONE', reason: 'written by oned for every VM that is not pinned; users may not set it', source: parser },
    ],
  },

  /** Only of pinned VMs: oned makes the nodes of others. */
  NUMA_NODE: {
    otherwise: 'left out',
    // prettier-ignore
    rules: [
      { names: ['TOTAL_CPUS', 'DISTANCE'], fate: 'kept', reason: 'of the user', source: parser },
      { names: ['MEMORY'], fate: 'rewritten', reason: 'oned takes MiB and stores KiB', source: parser },
      { names: ['CPUS', 'NODE_ID', 'MEMORY_NODE_ID'], fate: 'left out', reason: 'chosen on the old host', source: numa },
    ],
  },

  SCHED_ACTION: {
    otherwise: 'left out',
    // prettier-ignore
    rules: [
      { names: ['ACTION', 'ARGS', 'DAYS', 'END_TYPE', 'END_VALUE', 'REPEAT', 'TIME'], fate: 'kept', reason: 'of the user; ID, DONE, MESSAGE and others are of the old action', source: 'src/sam/ScheduledAction.cc' },
    ],
  },

  BACKUP_CONFIG: {
    otherwise: 'left out',
    // prettier-ignore
    rules: [
      { names: ['BACKUP_VOLATILE', 'FS_FREEZE', 'INCREMENT_MODE', 'INTERACTIVE', 'KEEP_LAST', 'MODE'], fate: 'kept', reason: 'of the user; the rest is the bookkeeping of the old backups', source: backups },
      { names: ['DISK_IDS'], fate: 'rewritten', reason: 'the numbers that the disks have then (7.4); oned refuses disks that it does not back up', source: backups },
    ],
  },
} satisfies Record<string, Section>;

function hasNetworkId(vector: XmlElement): boolean {
  return textIn(vector, 'NETWORK_ID') !== '';
}
