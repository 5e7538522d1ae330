import { describe, expect, test } from '@jest/globals';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { exportVm } from '../../lib/export-vm.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import type { OneClient } from '../../lib/one/client.ts';
import { requireSameHistory, requireUnchanged } from '../../lib/one/unchanged-vm.ts';
import type { Vm } from '../../lib/vm/vm.ts';
import { inWorld, MiB, rawFile } from '../support/storage-world.ts';

interface Facts {
  readonly state?: number;
  readonly lcmState?: number;
  readonly seq?: number;
  readonly stime?: number;
  readonly hostname?: string;
  /** ACTION of the record before, which is of kvm1. */
  readonly actionBefore?: number;
}

function xml({
  state = 8,
  lcmState = 0,
  seq = 3,
  stime = 1700000000,
  hostname = 'kvm1',
  actionBefore = 0,
}: Facts): string {
  return (
    `<VM><ID>7</ID><NAME>seven</NAME><STATE>${state}</STATE><LCM_STATE>${lcmState}</LCM_STATE>` +
    '<TEMPLATE><DISK><DISK_ID>0</DISK_ID><TYPE>fs</TYPE><FORMAT>raw</FORMAT><SIZE>1</SIZE></DISK>' +
    '<TM_MAD_SYSTEM>ssh</TM_MAD_SYSTEM></TEMPLATE><USER_TEMPLATE/>' +
    `<HISTORY_RECORDS><HISTORY><OID>7</OID><SEQ>${seq - 1}</SEQ><HOSTNAME>kvm1</HOSTNAME>` +
    `<TM_MAD>ssh</TM_MAD><DS_ID>0</DS_ID><ACTION>${actionBefore}</ACTION></HISTORY>` +
    `<HISTORY><OID>7</OID><SEQ>${seq}</SEQ><HOSTNAME>${hostname}</HOSTNAME>` +
    `<STIME>${stime}</STIME><TM_MAD>ssh</TM_MAD><DS_ID>0</DS_ID></HISTORY></HISTORY_RECORDS></VM>`
  );
}

/** oned, which has the VM as these facts say. */
function oned(facts: Facts): OneClient {
  return {
    endpoint: 'http://oned',
    call: () => Promise.reject(new Error('not needed')),
    id: () => Promise.reject(new Error('not needed')),
    text: (method) =>
      method === 'one.vm.info' ? Promise.resolve(xml(facts)) : Promise.reject(new Error(method)),
  };
}

const vmOf = (facts: Facts): Vm => parseVm(Buffer.from(xml(facts)));
const when = 'while its disks were being read';

const changes: [string, Facts][] = [
  ['was started and stopped', { seq: 4, stime: 1700000100 }],
  ['was started and stopped, by an OpenNebula that counted anew', { stime: 1700000100 }],
  ['was migrated', { seq: 4, hostname: 'kvm2' }],
  ['went to another host', { hostname: 'kvm2' }],
];

describe('a VM whose disks are read', () => {
  test.each(changes)(
    'a powered-off VM that %s while its disks were read is refused',
    async (_, change) => {
      await expect(requireUnchanged(vmOf({}), oned(change), when)).rejects.toThrow(
        /^VM 7 was started or migrated while its disks were being read \(.*\); nothing was exported/,
      );
    },
  );

  test.each(changes)(
    'a running VM that %s while its disks were read is refused',
    async (_, change) => {
      const vm = vmOf({ state: 3, lcmState: 3 });
      const now = oned({ state: 3, lcmState: 3, ...change });
      await expect(requireSameHistory(vm, now, when)).rejects.toThrow('was started or migrated');
    },
  );

  // What oned writes when its monitoring finds a guest paused, and then running again (src/lcm/LifeCycleStates.cc, 6.4 to 7.4).
  const suspendedByMonitoring = { seq: 4, stime: 1700000100, actionBefore: 44 };

  test.each([
    ['we have paused is taken', true, {}, undefined],
    ['we have not paused is refused', false, {}, 'was started or migrated'],
    [
      'we have paused is refused when it is on another host',
      true,
      { hostname: 'kvm2' },
      'migrated',
    ],
    ['we have paused is refused when a user has resumed it', true, { actionBefore: 3 }, 'started'],
    ['we have paused is refused when more has happened', true, { seq: 5 }, 'started'],
  ] as const)(
    'a running VM that OpenNebula took for suspended while its disks were read, and that %s',
    async (_, wasPaused, more, refusal) => {
      const running = { state: 3, lcmState: 3 };
      const now = oned({ ...running, ...suspendedByMonitoring, ...more });
      const checked = requireSameHistory(vmOf(running), now, when, wasPaused);
      if (refusal === undefined) await checked;
      else await expect(checked).rejects.toThrow(refusal);
    },
  );

  test('a VM whose disks are read is taken when nothing happened to it, and a running one also when it was powered off', async () => {
    await requireUnchanged(vmOf({}), oned({}), when);
    await requireSameHistory(vmOf({ state: 3, lcmState: 3 }), oned({ state: 8 }), when);
  });

  test('a VM whose disks are read is taken when the XML at hand has no STIME', async () => {
    const without = xml({}).replace(/<STIME>.*<\/STIME>/, '');
    await requireUnchanged(parseVm(Buffer.from(without)), oned({}), when);
  });

  test.each(changes)(
    'an export during which the VM %s leaves no bundle, also without a lock',
    (_, change) =>
      inWorld(async ({ outside, vmFolder, run }) => {
        await rawFile(join(vmFolder, 'disk.0'), MiB, [[0, 4096]]);
        const request = {
          ...{ vm: vmOf({}), lock: false, destination: outside, cloudName: '' },
          compression: { method: 'none' } as const,
          freeze: { mode: 'none', required: false } as const,
          way: 'auto' as const,
        };
        await expect(exportVm(request, run, oned(change))).rejects.toThrow('started or migrated');
        expect(readdirSync(outside)).toEqual(['datastores']);
        await exportVm(request, run, oned({}));
        expect(readdirSync(outside)).toHaveLength(2);
      }),
  );
});
