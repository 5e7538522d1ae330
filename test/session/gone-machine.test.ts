// What is undone of a run whose machine is gone, and what is not.
import { expect, test } from '@jest/globals';
import { createLog } from '../../lib/report/log.ts';
import { handlersForGone } from '../../lib/session/gone-machine.ts';
import type { JournalHeader } from '../../lib/run/journal-file.ts';
import { identify, type ProcessPlace } from '../../lib/run/process-identity.ts';
import type { SshTarget } from '../../lib/run/runner.ts';
import type { Undo, UndoHandlers } from '../../lib/run/undo.ts';
import { factsOf } from '../../lib/session/undo-handlers.ts';

const runId = '0011223344556677';
const elsewhere = { machineId: 'f'.repeat(32), bootId: 'b', host: 'fe2' };

/** Carries out one undo of a run in that place. @returns whether a handler got it, and what was warned of */
async function undone(
  undo: Undo,
  place: Partial<ProcessPlace>,
  on?: SshTarget,
): Promise<{ seen: boolean; warnings: string }> {
  let seen = false;
  let warnings = '';
  const note = (): Promise<void> => {
    seen = true;
    return Promise.resolve();
  };
  const handlers: UndoHandlers = { read: factsOf, carryOut: note };
  const process = { ...(await identify('self')), ...place };
  const header: JournalHeader = {
    ...{ version: 1, runId, action: 'export', vmId: 8, started: '2026-01-01T00:00:00.000Z' },
    process,
  };
  const log = createLog({ script: 't', debug: false, write: (line) => (warnings += line) });
  await (await handlersForGone(handlers, header, log)).carryOut({ undo, on });
  return { seen, warnings };
}

const part: Undo = { kind: 'remove-file', path: '/backups/onevmdump-8-1.tar.gz.part' };
const thaw: Undo = { kind: 'thaw', uri: '', domain: 'one-8', guard: 'guard' };

test('a lock in OpenNebula and a snapshot on Ceph of a machine that is gone are undone from anywhere', async () => {
  const at = { endpoint: 'http://o', vmId: 8, before: null, since: 0 };
  const lock: Undo = { kind: 'restore-lock', ...at };
  expect(await undone(lock, elsewhere)).toEqual({ seen: true, warnings: '' });
  const rbd: Undo = {
    kind: 'remove-rbd-snapshot',
    image: 'one/a',
    snapshot: 's',
    disk: 'd',
    access: {},
  };
  expect(await undone(rbd, elsewhere)).toEqual({ seen: true, warnings: '' });
});

test('what a run of a machine that is gone did on a host by ssh is undone there', async () => {
  expect(await undone(thaw, elsewhere, { host: 'kvm1' })).toEqual({ seen: true, warnings: '' });
  expect(await undone(part, elsewhere, { host: 'kvm1' })).toEqual({ seen: true, warnings: '' });
});

test('a guest of a machine that is gone is not looked for in the libvirt of this one', async () => {
  expect(await undone(thaw, elsewhere)).toEqual({ seen: false, warnings: '' });
});

test('a guest is thawed that a killed container on this very machine had frozen', async () => {
  expect(await undone(thaw, { pidNamespace: '1' })).toEqual({ seen: true, warnings: '' });
});

test('a file that may be the part file of another export here is not removed for a machine that is gone, and is named', async () => {
  const { seen, warnings } = await undone(part, elsewhere);
  expect(seen).toBe(false);
  expect(warnings).toContain('rm -f /backups/onevmdump-8-1.tar.gz.part');
  expect(warnings).toContain('it was on fe2/');
});

test('a file that is named after the run of a machine that is gone is removed where it can be seen', async () => {
  const own: Undo = { kind: 'remove-file', path: `/ds/0/8/onevmdump-${runId}.xml` };
  expect(await undone(own, elsewhere)).toEqual({ seen: true, warnings: '' });
});
