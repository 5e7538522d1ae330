// The settings of etc/onevmdump.conf, except those of backup jobs and of one kind of storage: their folders declare them.
// The file is long because it is a table: a dozen lines for each setting.
import {
  compressionsInWords,
  defaultCompression,
  levelsInWords,
} from '../bundle/compression/compressions.ts';
import { UsageError } from '../report/errors.ts';
import { parseCompression } from './compression.ts';
import { parseDeliveryWay, type DeliveryWay } from './delivery-way.ts';
import { parseFreezeMode, type FreezeMode } from './freeze-mode.ts';
import { parseSnapshotWay, type SnapshotWay } from './snapshot-way.ts';
import { parseHost, parseUser } from '../run/ssh-target.ts';
import {
  absolutePath,
  oneOfWords,
  seconds,
  wholeNumber,
  yesOrNo,
  type SettingTable,
} from './setting.ts';

/** The values of these settings, from the defaults, the file and the environment. */
export interface CoreConfig {
  readonly destination: string;
  /** `parseCompression` accepts it. */
  readonly compress: string;
  readonly delivery: DeliveryWay;
  readonly stagingDir: string;
  readonly stateDir: string;
  readonly datastoreLocation: string;
  /** Empty when it was not set. */
  readonly cloudName: string;
  /** Seconds; 0 for no limit. */
  readonly imageTimeout: number;
  /** Seconds. */
  readonly xmlrpcTimeout: number;
  readonly fsFreeze: FreezeMode;
  readonly snapshot: SnapshotWay;
  /** For `virsh --connect`; empty for virsh's own default. */
  readonly libvirtUri: string;
  /** Which VMs the export hook exports. */
  readonly hookVms: HookVms;
  /** Folder; empty when it was not set. */
  readonly hookDestination: string;
  /** Bundles of one VM; 0 for all. */
  readonly hookKeepLast: number;
  readonly hookKeepLastMax: number;
  /** Seconds. */
  readonly hookMinAge: number;
  /** Seconds. */
  readonly hookAgentWait: number;
  /** Whether the hook asks oned about the VM, and locks the VM. */
  readonly hookLock: boolean;
  /** A host, `auto`, or empty for this machine. */
  readonly remoteHost: string;
  /** Empty: the user's ssh configuration decides. The same holds for `destinationUser`. */
  readonly remoteUser: string;
  readonly destinationHost: string;
  readonly destinationUser: string;
  /** As in ssh_config(5); empty: the configuration of ssh decides. */
  readonly sshCiphers: string;
}

export type HookVms = 'marked' | 'all';

export const coreSettings: SettingTable<CoreConfig> = {
  destination: {
    key: 'DESTINATION',
    default: '/tmp',
    description: ['Folder into which exports write their bundles.'],
    parse: absolutePath,
  },
  compress: {
    key: 'COMPRESS',
    default: defaultCompression,
    description: [
      `How bundles are compressed: ${compressionsInWords}. A level may follow, as in gzip:6 or zstd:3.`,
      `${levelsInWords}.`,
    ],
    parse: (text) => {
      parseCompression(text);
      return text;
    },
  },
  delivery: {
    key: 'DELIVERY',
    default: 'auto',
    description: [
      'How OpenNebula gets the disks that onevmdump restore registers: address (its datastore driver fetches',
      'them from the bundle, nothing is staged), staged (from files in STAGING_DIR), or auto (address if the',
      'backup datastore is set up and can read the bundle, else staged; --debug says why).',
    ],
    parse: parseDeliveryWay,
  },
  stagingDir: {
    key: 'STAGING_DIR',
    default: '/var/tmp/onevmdump',
    description: [
      'Folder into which a restore writes disks, for OpenNebula to copy them into its datastores. It must',
      "lie in the SAFE_DIRS of the image datastores, and OpenNebula's user must be able to read it.",
    ],
    parse: absolutePath,
  },
  stateDir: {
    key: 'STATE_DIR',
    default: '/var/lib/one/onevmdump',
    underOneLocation: 'var/onevmdump',
    description: [
      'Folder of the undo journals (what has to be undone when a run is killed) and of the export locks. If',
      'you set it, the user who runs onevmdump must be able to write to it. If the default cannot be written,',
      'a warning says so and ~/.local/state/onevmdump is used instead. `onevmdump cleanup` looks in both.',
    ],
    parse: absolutePath,
  },
  datastoreLocation: {
    key: 'DATASTORE_LOCATION',
    default: '/var/lib/one/datastores',
    underOneLocation: 'var/datastores',
    description: ["Folder of OpenNebula's datastores, as in oned.conf."],
    parse: absolutePath,
  },
  cloudName: {
    key: 'CLOUD_NAME',
    default: '',
    description: [
      'A name for this OpenNebula, which is written into each bundle. Set it if several OpenNebulas keep their',
      'bundles in one folder: the export hook then neither counts nor removes bundles with another name.',
    ],
    parse: (text) => {
      if (/^[\x20-\x7e]{0,100}$/.test(text)) return text;
      throw new UsageError(`${JSON.stringify(text)} is not a name of up to 100 plain characters`);
    },
  },
  imageTimeout: {
    key: 'IMAGE_TIMEOUT',
    default: '86400',
    description: [
      'Seconds for which a restore waits until OpenNebula has copied one image; 0 for no limit. An image that',
      'fails is reported at once.',
    ],
    parse: (text) => seconds(text, 0),
  },
  xmlrpcTimeout: {
    key: 'XMLRPC_TIMEOUT',
    default: '240',
    description: [
      'Seconds to wait for an answer from oned. Some calls wait for a driver, for which oned itself',
      'allows 180 seconds.',
    ],
    parse: (text) => seconds(text, 1),
  },
  fsFreeze: {
    key: 'FS_FREEZE',
    default: 'agent',
    description: [
      'How a running guest is made consistent: agent (its guest agent freezes the file systems), suspend (the',
      'guest is paused) or none. If the agent does not answer, the disks are exported as after a power cut,',
      'with a warning; if another tool has frozen the guest, the export fails. A guest is paused only with',
      'suspend, because OpenNebula takes a paused guest for SUSPENDED, for up to three minutes.',
    ],
    parse: parseFreezeMode,
  },
  snapshot: {
    key: 'SNAPSHOT',
    default: 'auto',
    description: [
      'What fixes the point in time of a running VM: qemu (one backup job of QEMU for all disks, which changes',
      "nothing on the storage), storage (the storage's own snapshots, on LVM and Ceph; disks that are files have",
      'none and go by a backup job), or auto (qemu if it can, else storage, with a warning that says why).',
    ],
    parse: parseSnapshotWay,
  },
  libvirtUri: {
    key: 'LIBVIRT_URI',
    default: 'qemu:///system',
    description: [
      'The libvirt that runs the guests, as for virsh --connect, as seen from the machine that has the disks.',
      'Empty ("") for the default of virsh.',
    ],
    parse: (text) => {
      if (!/^[\x21-\x7e]*$/.test(text) || text.startsWith('-')) {
        throw new UsageError(`${JSON.stringify(text)} is not a URI`);
      }
      return text;
    },
  },
  hookVms: {
    key: 'HOOK_VMS',
    default: 'marked',
    description: [
      'Which VMs the export hook exports: marked (those with ONEVMDUMP_EXPORT = "YES" in their user',
      'template) or all.',
    ],
    parse: (text) => oneOfWords(text, ['marked', 'all']),
  },
  hookDestination: {
    key: 'HOOK_DESTINATION',
    default: '',
    description: [
      'Folder into which the export hook writes its bundles. It must exist, and oneadmin must be able to write',
      'to it. There is no default: hooks fail until it is set.',
    ],
    parse: (text) => (text === '' ? '' : absolutePath(text)),
  },
  hookKeepLast: {
    key: 'HOOK_KEEP_LAST',
    default: '0',
    description: [
      'How many bundles of a VM the export hook keeps in HOOK_DESTINATION: when a new one is complete,',
      'the oldest beyond this number are removed. 0 keeps all. ONEVMDUMP_KEEP_LAST in the user template of a',
      'VM overrides it.',
    ],
    parse: (text) => wholeNumber(text, 0, 100_000),
  },
  hookKeepLastMax: {
    key: 'HOOK_KEEP_LAST_MAX',
    default: '30',
    description: ["The largest number that a VM's ONEVMDUMP_KEEP_LAST can ask for."],
    parse: (text) => wholeNumber(text, 1, 100_000),
  },
  hookMinAge: {
    key: 'HOOK_MIN_AGE',
    default: '0',
    description: [
      'Seconds: the export hook skips a VM whose newest bundle is younger, such as a VM that is started',
      'and powered off again and again. 0 for no limit.',
    ],
    parse: (text) => seconds(text, 0),
  },
  hookAgentWait: {
    key: 'HOOK_AGENT_WAIT',
    default: '120',
    description: [
      'Seconds for which the export hook waits for the agent of a guest that has just been started, with',
      'FS_FREEZE = agent. After that, or if the VM has no agent, the disks are exported as after a power cut.',
    ],
    parse: (text) => seconds(text, 0),
  },
  hookLock: {
    key: 'HOOK_LOCK',
    default: 'yes',
    description: [
      'yes: the export hook locks the VM in OpenNebula while it reads its disks, and checks that its state',
      'did not change. no: the hook does not ask OpenNebula at all, for hosts (REMOTE = yes) that have no',
      'credentials. Nothing then prevents the VM from being started or changed during the export.',
    ],
    parse: yesOrNo,
  },
  remoteHost: {
    key: 'REMOTE_HOST',
    default: '',
    description: [
      'The host that has the disks, which are then read by ssh; auto for the host in the last history record',
      'of the VM. Empty ("") for this machine. It applies to the command and to the export hook.',
    ],
    parse: (text) => (text === '' ? text : parseHost(text)),
  },
  remoteUser: {
    key: 'REMOTE_USER',
    default: '',
    description: ['The user on that host. Empty ("") for the one in the configuration of ssh.'],
    parse: (text) => (text === '' ? text : parseUser(text)),
  },
  destinationHost: {
    key: 'DESTINATION_HOST',
    default: '',
    description: [
      'The host to which exports write their bundles by ssh; DESTINATION is then a folder there. Empty ("") for',
      'this machine.',
    ],
    parse: (text) => (text === '' ? text : parseHost(text)),
  },
  destinationUser: {
    key: 'DESTINATION_USER',
    default: '',
    description: ['The user on that host. Empty ("") for the one in the configuration of ssh.'],
    parse: (text) => (text === '' ? text : parseUser(text)),
  },
  sshCiphers: {
    key: 'SSH_CIPHERS',
    // The list has no ^ before it, which OpenSSH knows only since 8.1, and no chacha20, which OpenSSH in FIPS mode
    // refuses to read. Every OpenSSH since 6.2 knows all of these ciphers.
    default: 'aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr',
    description: [
      'Ciphers with which ssh encrypts disks and bundles, as in ssh_config(5). AES-GCM comes first, because it',
      'takes half the CPU time of the others. If a host allows none of these, set it to "": the configuration',
      'of ssh then decides.',
    ],
    parse: (text) => {
      if (!/^[\^+-]?[A-Za-z0-9@.,*-]*$/.test(text)) {
        throw new UsageError(`${JSON.stringify(text)} is no list of ciphers`);
      }
      return text;
    },
  },
};
