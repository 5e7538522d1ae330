// Every setting of etc/onevmdump.conf: the one table from which the file is read, the shipped copy
// is checked, and the defaults come.
import { UsageError } from '../report/errors.ts';
import { parseCompression } from './compression.ts';
import { parseFreezeMode, type FreezeMode } from './freeze-mode.ts';
import { parseHost, parseUser } from './ssh-target.ts';

/** The configuration, after defaults, file and environment. */
export interface Config {
  readonly destination: string;
  /** As `parseCompression` takes it; checked. */
  readonly compress: string;
  readonly stagingDir: string;
  readonly stateDir: string;
  readonly datastoreLocation: string;
  /** Seconds; 0 for no limit. */
  readonly imageTimeout: number;
  /** Seconds. */
  readonly xmlrpcTimeout: number;
  readonly allowedBackingDirs: readonly string[];
  readonly fsFreeze: FreezeMode;
  /** For `virsh --connect`; empty for virsh's own default. */
  readonly libvirtUri: string;
  /** A host, `auto`, or empty for this machine. */
  readonly remoteHost: string;
  /** Empty for what the user's ssh configuration says; likewise below. */
  readonly remoteUser: string;
  readonly destinationHost: string;
  readonly destinationUser: string;
  /** As in ssh_config(5); empty for what ssh's configuration says. */
  readonly sshCiphers: string;
}

export interface Setting<T> {
  readonly key: string;
  /** As it would stand in the file. */
  readonly default: string;
  /** The default below $ONE_LOCATION, for a self-contained installation. */
  readonly underOneLocation?: string;
  /** The comment in the shipped file, line by line. */
  readonly description: readonly string[];
  /** @throws UsageError that says what was expected */
  readonly parse: (text: string) => T;
}

export const settings: { readonly [K in keyof Config]: Setting<Config[K]> } = {
  destination: {
    key: 'DESTINATION',
    default: '/tmp',
    description: ['Folder where exports put their bundles.'],
    parse: absolutePath,
  },
  compress: {
    key: 'COMPRESS',
    default: 'gzip',
    description: [
      'How bundles are compressed: gzip, zstd or none, and if wanted a level: gzip:6, zstd:3.',
      'gzip has the levels 0 to 9, zstd 1 to 19.',
    ],
    parse: (text) => {
      parseCompression(text);
      return text;
    },
  },
  stagingDir: {
    key: 'STAGING_DIR',
    default: '/var/tmp/onevmdump',
    description: [
      'Folder where a restore lays down disks for OpenNebula to take them over. It must lie in',
      "the SAFE_DIRS of the image datastores, and OpenNebula's user must be able to read it.",
    ],
    parse: absolutePath,
  },
  stateDir: {
    key: 'STATE_DIR',
    default: '/var/lib/one/onevmdump',
    underOneLocation: 'var/onevmdump',
    description: ['Folder of the undo journals: what a run that was killed left to be undone.'],
    parse: absolutePath,
  },
  datastoreLocation: {
    key: 'DATASTORE_LOCATION',
    default: '/var/lib/one/datastores',
    underOneLocation: 'var/datastores',
    description: ["Folder of OpenNebula's datastores, as in oned.conf."],
    parse: absolutePath,
  },
  imageTimeout: {
    key: 'IMAGE_TIMEOUT',
    default: '86400',
    description: [
      'Seconds a restore waits for OpenNebula to take over one image; 0 for no limit. An image',
      'that fails is reported at once.',
    ],
    parse: (text) => seconds(text, 0),
  },
  xmlrpcTimeout: {
    key: 'XMLRPC_TIMEOUT',
    default: '240',
    description: [
      'Seconds to wait for an answer of oned. Some calls wait for a driver, for which oned itself',
      'allows 180 seconds.',
    ],
    parse: (text) => seconds(text, 1),
  },
  allowedBackingDirs: {
    key: 'ALLOWED_BACKING_DIRS',
    default: '',
    description: [
      'Further folders, separated by colons, in which backing files of qcow2 disks may lie. Those',
      'under DATASTORE_LOCATION always may.',
    ],
    parse: (text) => (text === '' ? [] : text.split(':').map(absolutePath)),
  },
  fsFreeze: {
    key: 'FS_FREEZE',
    default: 'agent',
    description: [
      'How a running guest is held for the moment in which the instant of its disks is fixed: agent',
      '(its guest agent freezes the file systems), suspend (the guest is paused) or none. A guest',
      'whose agent does not answer is exported as after a power cut, with a warning.',
    ],
    parse: parseFreezeMode,
  },
  libvirtUri: {
    key: 'LIBVIRT_URI',
    default: 'qemu:///system',
    description: [
      'The libvirt that runs the guests, as for virsh --connect, seen from the machine where the',
      'disks are. Empty ("") for the default of virsh itself.',
    ],
    parse: (text) => {
      if (!/^[\x21-\x7e]*$/.test(text) || text.startsWith('-')) {
        throw new UsageError(`${JSON.stringify(text)} is not a URI`);
      }
      return text;
    },
  },
  remoteHost: {
    key: 'REMOTE_HOST',
    default: '',
    description: [
      'The host where the disks are, read by ssh; auto for the one in the last history record of the',
      'VM. Empty ("") for this machine.',
    ],
    parse: (text) => (text === '' ? text : parseHost(text)),
  },
  remoteUser: {
    key: 'REMOTE_USER',
    default: '',
    description: ['User on that host. Empty ("") for what the configuration of ssh says.'],
    parse: (text) => (text === '' ? text : parseUser(text)),
  },
  destinationHost: {
    key: 'DESTINATION_HOST',
    default: '',
    description: [
      'The host where exports put their bundles, by ssh; DESTINATION is a folder there then. Empty',
      '("") for this machine.',
    ],
    parse: (text) => (text === '' ? text : parseHost(text)),
  },
  destinationUser: {
    key: 'DESTINATION_USER',
    default: '',
    description: ['User on that host. Empty ("") for what the configuration of ssh says.'],
    parse: (text) => (text === '' ? text : parseUser(text)),
  },
  sshCiphers: {
    key: 'SSH_CIPHERS',
    default: '^aes128-gcm@openssh.com,aes256-gcm@openssh.com',
    description: [
      'What ssh encrypts disks and bundles with, as Ciphers in ssh_config(5): here AES-GCM before its',
      'usual list, since that takes half of the CPU time. Empty ("") for what its configuration says.',
    ],
    parse: (text) => {
      if (!/^[\^+-]?[A-Za-z0-9@.,*-]*$/.test(text)) {
        throw new UsageError(`${JSON.stringify(text)} is no list of ciphers`);
      }
      return text;
    },
  },
};

function absolutePath(text: string): string {
  if (!text.startsWith('/') || text.includes('\0')) {
    throw new UsageError(`${JSON.stringify(text)} is not an absolute path`);
  }
  return text;
}

function seconds(text: string, least: number): number {
  // In milliseconds it has to fit a timer of Node's, which holds 31 bits: 24 days.
  if (!/^\d{1,7}$/.test(text) || Number(text) < least || Number(text) > 2_000_000) {
    throw new UsageError(
      `${JSON.stringify(text)} is not a number of seconds from ${least} to 2000000`,
    );
  }
  return Number(text);
}
