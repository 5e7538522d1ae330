// The description of `onevmdump export`.
import {
  compressionsInWords,
  defaultCompression,
} from '../../lib/bundle/compression/compressions.ts';
import type { CommandDescription, OptionsOf } from './description.ts';
import type { GlobalOptions } from './global-options.ts';

const what = 'What is exported:';
const bundle = 'The bundle:';
const host = 'Where the disks are:';
const guest = 'The guest and OpenNebula:';

export const exportDescription = {
  name: 'export',
  arguments: [
    {
      name: 'vm_id',
      required: false,
      help: 'Id of the VM; with --stdin it is taken from the XML',
    },
  ],
  usage: '[options] <vm_id>',
  summary: 'Dump a VM and all its disks into one bundle',
  details: [
    'Reads all disks of a VM as they are at one point in time and writes them, with the XML of the VM, into one .tar.gz file (a bundle). The VM may be running, powered off or undeployed.',
    'The bundle has its name only when it is complete. If the export fails or is interrupted, everything it did is undone and no bundle remains.',
    'Prints the path of the bundle.',
  ],
  options: {
    stdin: {
      help: "Read the VM's XML from stdin, plain or in base64; with --no-lock, OpenNebula is not asked at all",
      group: what,
    },
    disk: {
      argument: 'ID',
      repeatable: true,
      help: 'Export only this disk',
      default: 'all disks',
      group: what,
    },
    'destination-path': {
      alias: 'd',
      argument: 'PATH',
      help: 'Write the bundle into this folder, or to this file',
      default: '/tmp',
      group: bundle,
    },
    'destination-host': {
      argument: 'HOST',
      help: 'Write the bundle on this host, over ssh',
      group: bundle,
    },
    'destination-user': {
      argument: 'USER',
      help: 'Log in to the destination host as this user',
      group: bundle,
    },
    compress: {
      argument: 'METHOD[:LEVEL]',
      help: `Compress with ${compressionsInWords}; a level may follow, as in zstd:3`,
      default: defaultCompression,
      group: bundle,
    },
    'remote-host': {
      alias: 'h',
      argument: 'HOST',
      help: 'Read the disks on this host, over ssh; "auto" is the host of the VM',
      default: 'this machine',
      group: host,
    },
    'remote-user': {
      alias: 'l',
      argument: 'USER',
      help: 'Log in to the remote host as this user',
      group: host,
    },
    'fs-freeze': {
      argument: 'MODE',
      help: 'What happens to a running guest at the point in time: agent (the guest agent freezes its file systems), suspend (it is paused; OpenNebula may show it as SUSPENDED for up to three minutes) or none',
      default: 'agent',
      group: guest,
    },
    snapshot: {
      argument: 'WAY',
      help: "What fixes a running VM's point in time: qemu (one backup job for all disks), storage (its own snapshots) or auto (qemu if it can)",
      default: 'auto',
      group: guest,
    },
    'require-freeze': { help: 'Fail if the guest cannot be frozen', group: guest },
    'no-lock': {
      alias: 'L',
      help: 'Do not lock the VM in OpenNebula during the export',
      group: guest,
    },
    endpoint: { argument: 'URL', help: 'Address of the XML-RPC API of OpenNebula', group: guest },
  },
  examples: [
    { command: 'onevmdump export 8', help: 'dump VM 8 into /tmp' },
    {
      command: 'onevmdump export 8 -d /backups --compress zstd',
      help: 'into a folder, compressed with zstd',
    },
    {
      command: 'onevm show -x 8 | onevmdump export --stdin -L',
      help: 'without asking OpenNebula',
    },
  ],
} as const satisfies CommandDescription;

export type ExportOptions = GlobalOptions &
  OptionsOf<(typeof exportDescription)['options']> & { readonly vm_id: string | undefined };
