// Journals outlive the version that wrote them: what each kind of undo looks like in one, and what is said of it.
import { describe, expect, test } from '@jest/globals';
import { remedy, type Undo } from '../../lib/run/undo.ts';
import { factsOf } from '../../lib/session/undo-handlers.ts';

const runId = '0011223344556677';
const at = { endpoint: 'http://one:2633/RPC2', name: 'web' };
const locked = { level: 2, owner: 0, time: 1700000000, requestId: -1 };
const guest = { uri: 'qemu:///system', domain: 'one-8', guard: 'onevmdump-guard-1' };

interface Known {
  /** As it stands in a journal. */
  readonly undo: Undo;
  readonly says: string;
  /** Of a machine that is gone. */
  readonly fate: string;
  readonly freesStorage?: true;
}

const known: readonly Known[] = [
  {
    undo: { kind: 'remove-file', path: '/b/x.part' },
    says: 'the file /b/x.part is left; remove it with: rm -f /b/x.part',
    fate: 'by-hand',
  },
  {
    undo: { kind: 'remove-file', path: `/ds/0/8/onevmdump-${runId}.xml` },
    says: `remove it with: rm -f /ds/0/8/onevmdump-${runId}.xml`,
    fate: 'anywhere',
  },
  {
    undo: { kind: 'remove-unfinished', part: '/b/x.part', path: '/b/x' },
    says: 'if /b/x.part exists, remove both with: rm -f /b/x /b/x.part',
    fate: 'by-hand',
  },
  {
    undo: { kind: 'remove-folder', path: '/tmp/onevmdump-1' },
    says: 'the folder /tmp/onevmdump-1 is left; remove it with: rm -rf /tmp/onevmdump-1',
    fate: 'anywhere',
  },
  {
    undo: { kind: 'remove-empty-folder', path: '/ds/100/8' },
    says: 'the folder /ds/100/8 may be left; if it is empty, remove it with: rmdir /ds/100/8',
    fate: 'by-hand',
  },
  {
    undo: { kind: 'stop-process', program: 'ssh', argument: '/tmp/onevmdump-1/' },
    says: 'ssh may still run; end it with: pkill -f -- /tmp/onevmdump-1/',
    fate: 'ended',
  },
  {
    undo: { kind: 'stop-space-watch', name: 'onevmdump-space-1', description: '/ds/0/8/x.xml' },
    says: 'a process that watches the free space may still run; end it with: pkill -f -- onevmdump-space-1',
    fate: 'ended',
  },
  {
    undo: { kind: 'thaw', ...guest },
    says: 'may be frozen; thaw them with: virsh --connect qemu:///system domfsthaw one-8',
    fate: 'ended',
  },
  {
    undo: { kind: 'resume', ...guest, uri: '' },
    says: 'one-8 may be paused; resume it with: virsh resume one-8',
    fate: 'ended',
  },
  {
    undo: { kind: 'abort-backup-job', uri: '', domain: 'one-8', socket: '/ds/0/8/x.sock' },
    says: 'a backup job of one-8 may be left; end it with: virsh domjobabort one-8',
    fate: 'ended',
    freesStorage: true,
  },
  {
    undo: { kind: 'remove-snapshot-lv', group: 'vg-one-0', name: 'onevmdump-1-0', origin: 'lv' },
    says: 'remove it with: lvremove -f vg-one-0/onevmdump-1-0',
    fate: 'anywhere',
    freesStorage: true,
  },
  {
    undo: { kind: 'deactivate-lv', group: 'vg-one-0', name: 'lv-one-8-0' },
    says: 'is left active; deactivate it with: lvchange -an vg-one-0/lv-one-8-0',
    fate: 'ended',
    freesStorage: true,
  },
  {
    undo: {
      ...{ kind: 'remove-rbd-snapshot', image: 'one/a', snapshot: 'onevmdump-1' },
      ...{ disk: 'disk 0 of VM 8', access: { user: 'libvirt' } },
    },
    says: 'the snapshot one/a@onevmdump-1 of disk 0 of VM 8 may be left; remove it with: rbd --id libvirt snap rm one/a@onevmdump-1',
    fate: 'anywhere',
    freesStorage: true,
  },
  {
    undo: { kind: 'restore-lock', endpoint: 'http://o', vmId: 8, before: null, since: 1700000000 },
    says: 'VM 8 is left locked; unlock it with: onevm unlock 8',
    fate: 'anywhere',
  },
  {
    undo: {
      ...{ kind: 'restore-lock', endpoint: 'http://o', vmId: 8, before: locked },
      ...{ since: 1700000000, own: { ...locked, level: 1 } },
    },
    says: 'put it back with: onevm lock 8 --manage',
    fate: 'anywhere',
  },
  {
    undo: { kind: 'delete-image', ...at, path: '/var/tmp/x/0', since: 1700000000000 },
    says: 'the image web may be left; delete it with: oneimage delete web',
    fate: 'anywhere',
  },
  {
    undo: { kind: 'delete-template', ...at, is: { mark: 'ab', since: 1700000000000 } },
    says: 'the template web may be left; delete it with: onetemplate delete web',
    fate: 'anywhere',
  },
  {
    undo: { kind: 'delete-template', ...at, is: { id: 7 } },
    says: 'the template web may be left; delete it with: onetemplate delete web',
    fate: 'anywhere',
  },
  {
    undo: { kind: 'terminate-vm', ...at, templateId: 7, since: 1700000000000 },
    says: 'the VM web may be left; end it with: onevm terminate --hard web',
    fate: 'anywhere',
  },
];

describe('an undo in a journal', () => {
  test.each(known)('as $undo is understood', ({ undo, says, fate, freesStorage = false }) => {
    const facts = factsOf(JSON.parse(JSON.stringify(undo)) as Undo);
    expect(remedy({ undo, on: undefined }, facts)).toContain(says);
    expect(remedy({ undo, on: { host: 'kvm1' } }, facts)).toMatch(/^on kvm1: /);
    expect([facts.fate(runId), facts.freesStorage]).toEqual([fate, freesStorage]);
    expect(facts.unlocks).toBe(undo.kind === 'restore-lock' ? 8 : undefined);
  });

  test.each(known)('without one of its fields is not carried out: $undo', ({ undo }) => {
    for (const field of Object.keys(undo).filter((name) => name !== 'kind' && name !== 'own')) {
      const facts = factsOf({ ...undo, [field]: undefined });
      expect(facts.describe()).toContain(`the undo ${undo.kind} in the journal is not usable`);
      expect(facts.describe()).toContain('a person has to find out what is left');
    }
  });
});
