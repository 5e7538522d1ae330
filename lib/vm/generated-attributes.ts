// What OpenNebula itself writes into a VM and must not go into a restored template, each with its
// reason. Everything else is kept. Sources: VirtualMachineParser.cc, VirtualMachineDisk.cc,
// VirtualMachineNic.cc, Image.cc and VirtualNetwork.cc of OpenNebula, releases 6.4.7 to 7.4.0.

/** Attributes of TEMPLATE that are left out. */
export const generatedInTemplate: Readonly<Record<string, string>> = {
  DISK: 'rebuilt from the restored images',
  NIC: 'only with --restore-nics',
  NIC_ALIAS: 'only with --restore-nics',
  SECURITY_GROUP_RULE: 'copied by oned from the security groups of the NICs',
  SNAPSHOT: 'system snapshots live in the old domain',
  VMID: 'the id of the old VM',
  TEMPLATE_ID: 'the template the old VM came from',
  CLONING_TEMPLATE_ID: 'the template the old VM came from',
  TM_MAD_SYSTEM: 'follows the datastores of the new VM',
  SUBMIT_ON_HOLD: 'how the old VM was submitted',
  AUTOMATIC_REQUIREMENTS: 'computed by oned',
  AUTOMATIC_DS_REQUIREMENTS: 'computed by oned',
  AUTOMATIC_NIC_REQUIREMENTS: 'computed by oned',
  ERROR: 'a message of the past',
  SCHED_ACTION: 'only those that still lie ahead (schedule.ts)',
  NUMA_NODE: 'rebuilt from what a template may say (numa)',
  VROUTER_ID: 'a restored VM belongs to no virtual router',
  VROUTER_KEEPALIVED_ID: 'a restored VM belongs to no virtual router',
  VROUTER_KEEPALIVED_PASSWORD: 'a restored VM belongs to no virtual router',
};

/** Attributes inside a vector attribute of TEMPLATE that are left out. */
export const generatedInVector: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  CONTEXT: {
    DISK_ID: 'assigned by oned',
    VMID: 'the id of the old VM',
    VM_ID: 'the id of the old VM',
    ONEGATE_ENDPOINT: 'written by oned where TOKEN is YES',
  },
  OS: { UUID: 'identifies the old domain; two VMs must not share it' },
  GRAPHICS: { PORT: 'assigned by oned; the old VM may still hold it' },
  PCI: {
    DOMAIN: 'the device that was chosen',
    BUS: 'the device that was chosen',
    SLOT: 'the device that was chosen',
    FUNCTION: 'the device that was chosen',
    ADDRESS: 'the device that was chosen',
    PREV_ADDRESS: 'the device that was chosen',
    NUMA_NODE: 'the device that was chosen',
    UUID: 'the device that was chosen',
    MDEV_MODE: 'the device that was chosen',
    PCI_ID: 'assigned by oned',
    VM_ADDRESS: 'assigned by oned',
    VM_BUS: 'assigned by oned',
    VM_DOMAIN: 'assigned by oned',
    VM_FUNCTION: 'assigned by oned',
    VM_SLOT: 'assigned by oned',
  },
  TOPOLOGY: { NODES: 'computed by oned' },
};

/** ETH0_IP and the like: rebuilt from the NICs where CONTEXT says NETWORK=YES. */
export const generatedContextNetwork = /^(ETH|PCI)\d+_/;

/** Attributes of a DISK that are left out. */
export const generatedInDisk: Readonly<Record<string, string>> = {
  ALLOW_ORPHANS: 'from the datastore',
  CLONE: 'from the image',
  CLONE_TARGET: 'from the datastore',
  CLONING: 'a state of the past',
  CLUSTER_ID: 'from the datastore',
  DATASTORE: 'from the image',
  DATASTORE_ID: 'from the image',
  DEV_PREFIX: 'from the image, or set again for volatile disks',
  DISK_ID: 'assigned by oned in order',
  DISK_SNAPSHOT_ACTIVE: 'snapshots are flattened',
  DISK_SNAPSHOT_ID: 'snapshots are flattened',
  DISK_SNAPSHOT_TOTAL_SIZE: 'snapshots are flattened',
  DISK_TYPE: 'from the datastore',
  DRIVER: 'from the image',
  FORMAT: 'from the image, or set again for volatile disks',
  IMAGE: 'the restored image has its own',
  IMAGE_ID: 'the restored image has its own',
  IMAGE_STATE: 'a state of the past',
  IMAGE_UID: 'the restored image has its own',
  IMAGE_UNAME: 'the restored image has its own',
  LN_TARGET: 'from the datastore',
  OPENNEBULA_MANAGED: 'set by oned',
  ORDER: 'computed from OS/BOOT',
  ORIGINAL_SIZE: 'from the image',
  PERSISTENT: 'from the image',
  POOL_NAME: 'from the datastore',
  READONLY: 'from the image, or set again where the user asked for it',
  SAVE: 'from the image',
  SIZE: 'from the image, or set again for volatile disks',
  SIZE_PREV: 'a state of the past',
  SOURCE: 'from the image',
  TM_MAD: 'from the datastore',
  TM_MAD_SYSTEM: 'from the datastore',
  TYPE: 'from the image, or set again for volatile disks',
  BRIDGE_LIST: 'from the datastore',
  CEPH_CONF: 'from the datastore',
  CEPH_HOST: 'from the datastore',
  CEPH_KEY: 'from the datastore',
  CEPH_SECRET: 'from the datastore',
  CEPH_USER: 'from the datastore',
  RBD_FORMAT: 'from the datastore',
  VG_NAME: 'from the datastore',
  HOTPLUG_SAVE_AS: 'a state of the past',
  HOTPLUG_SAVE_AS_ACTIVE: 'a state of the past',
  HOTPLUG_SAVE_AS_SNAPSHOT_ID: 'a state of the past',
  HOTPLUG_SAVE_AS_SOURCE: 'a state of the past',
};

/** Attributes of a NIC or NIC_ALIAS that are left out. */
export const generatedInNic: Readonly<Record<string, string>> = {
  ALIAS_ID: 'assigned by oned',
  ALIAS_IDS: 'assigned by oned',
  AR_ID: 'from the network; the address tells it',
  BRIDGE: 'from the network',
  BRIDGE_TYPE: 'from the network',
  CLUSTER_ID: 'from the network',
  NETWORK: 'NETWORK_ID says it without doubt',
  NETWORK_UNAME: 'NETWORK_ID says it without doubt',
  NETWORK_UID: 'NETWORK_ID says it without doubt',
  NIC_ID: 'assigned by oned in order',
  OPENNEBULA_MANAGED: 'set by oned',
  OUTER_VLAN_ID: 'from the network',
  PARENT_ID: 'assigned by oned; PARENT names the NIC',
  PARENT_NETWORK_ID: 'from the network',
  PHYDEV: 'from the network',
  TARGET: 'the name of the old interface on the host',
  VLAN_ID: 'from the network',
  VN_MAD: 'from the network',
  VROUTER_IP: 'a restored VM belongs to no virtual router',
};

/** What `--no-ip` leaves out besides: all addresses, so that oned assigns new ones. */
export const addressesInNic = /^(IP|IP6|IP6_.*|MAC|EXTERNAL_IP|ALIAS_IP.*|VROUTER_IP6?.*)$/;

/** Attributes of USER_TEMPLATE that are left out. */
export const generatedInUserTemplate: Readonly<Record<string, string>> = {
  ERROR: 'a message of the past',
  SCHED_MESSAGE: 'a message of the past',
};

/** BACKUP_CONFIG keeps what a user sets; the rest is oned's bookkeeping of the old VM's backups. */
export const keptInBackupConfig: readonly string[] = [
  'BACKUP_VOLATILE',
  'FS_FREEZE',
  'INCREMENT_MODE',
  'KEEP_LAST',
  'MODE',
];
