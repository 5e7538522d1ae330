import { describe, expect, test } from '@jest/globals';
import type { Bundle, BundleDisk } from '../../lib/bundle/read/bundle.ts';
import type { About } from '../../lib/bundle/format/manifest.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { planDisks, type PlanOptions } from '../../lib/restore/image-plan.ts';
import type { Vm } from '../../lib/vm/vm.ts';

const vm = vmOf(
  `<DISK><DISK_ID>0</DISK_ID><TYPE>FILE</TYPE><FORMAT>qcow2</FORMAT><DATASTORE_ID>101</DATASTORE_ID><DEV_PREFIX>vd</DEV_PREFIX></DISK>
   <DISK><DISK_ID>1</DISK_ID><TYPE>FILE</TYPE><FORMAT>raw</FORMAT><DATASTORE_ID>1</DATASTORE_ID><PERSISTENT>YES</PERSISTENT></DISK>
   <DISK><DISK_ID>2</DISK_ID><TYPE>fs</TYPE><FORMAT>raw</FORMAT><DATASTORE_ID>100</DATASTORE_ID></DISK>
   <DISK><DISK_ID>3</DISK_ID><TYPE>swap</TYPE><FORMAT>raw</FORMAT></DISK>
   <DISK><DISK_ID>4</DISK_ID><TYPE>CDROM</TYPE><FORMAT>raw</FORMAT><DATASTORE_ID>101</DATASTORE_ID></DISK>`,
);

function vmOf(disks: string): Vm {
  return parseVm(
    Buffer.from(
      `<VM><ID>8</ID><NAME>w</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE>${disks}</TEMPLATE><USER_TEMPLATE/></VM>`,
    ),
  );
}

/** A bundle of the older tool: no manifest. */
function bundleOf(ids: readonly number[], format?: 'raw' | 'qcow2'): Bundle {
  const disks = ids.map((id): BundleDisk => ({
    id,
    member: `./backup.disk.${id}`,
    size: 1024,
    dataBytes: 1024,
    format,
    head: () => Promise.resolve(Buffer.alloc(1024)),
    pieces: () => {
      throw new Error('not read in a plan');
    },
  }));
  const close = () => Promise.resolve();
  const facts = {
    name: 'b',
    about: undefined,
    manifest: undefined,
    modified: new Date(),
    state: [],
  };
  return { ...facts, vmXml: vm.xmlBytes, disks, close };
}

const options: PlanOptions = { volatile: 'image', only: undefined, kept: new Map() };
const all = bundleOf([0, 1, 2, 3, 4]);

describe('the plan of a restore', () => {
  test('the plan of a restore tells types apart where no manifest does', () => {
    const plans = planDisks(vm, all, options);
    expect(plans.map((plan) => (plan.as === 'register' ? plan.type : plan.as))).toEqual([
      'OS',
      'DATABLOCK',
      'DATABLOCK',
      'volatile',
      'CDROM',
    ]);
  });

  test('the plan of a restore keeps declared formats and persistence', () => {
    const plans = planDisks(vm, all, options).filter((plan) => plan.as === 'register');
    expect(plans.map(({ disk, format, persistent }) => [disk.id, format, persistent])).toEqual([
      [0, 'qcow2', false],
      [1, 'raw', true],
      [2, 'raw', false],
      [4, 'raw', false],
    ]);
  });

  test("the plan of a restore does not take a volatile disk's system datastore for an image datastore", () => {
    const plan = planDisks(vm, all, options)[2];
    expect(plan).toMatchObject({ as: 'register', datastore: undefined });
  });

  test('the plan of a restore makes volatile disks new when asked', () => {
    expect(planDisks(vm, all, { ...options, volatile: 'fresh' })[2]).toMatchObject({
      as: 'volatile',
    });
  });

  test('the plan of a restore gives a volatile disk its data when it is asked for by number', () => {
    const plans = planDisks(vm, all, { ...options, only: [3], volatile: 'fresh' });
    expect(plans).toHaveLength(1);
    expect(plans[0]).toMatchObject({ as: 'register', disk: { id: 3 } });
  });

  test('the plan of a restore uses the image of a CD-ROM again', () => {
    const plans = planDisks(vm, bundleOf([0, 1, 2, 3]), { ...options, kept: new Map([[4, 77]]) });
    expect(plans[4]).toMatchObject({ as: 'reuse', imageId: 77 });
  });

  test('the plan of a restore leaves out a CD-ROM that a backup of OpenNebula does not hold and whose image is gone', () => {
    const backup = { ...bundleOf([0, 1, 2, 3]), about: { disks: [] } as unknown as About };
    const plans = planDisks(vm, backup, options);
    expect(plans[4]).toMatchObject({ as: 'absent', disk: { id: 4 } });
  });

  test('the plan of a restore makes a volatile disk new that a backup of OpenNebula does not hold, as one that lost its data', () => {
    const backup = { ...bundleOf([0, 1]), about: { disks: [] } as unknown as About };
    expect(planDisks(vm, backup, options)[2]).toMatchObject({ as: 'volatile', lost: true });
    expect(planDisks(vm, backup, options)[3]).toMatchObject({ as: 'volatile', lost: false });
    const fresh = planDisks(vm, backup, { ...options, volatile: 'fresh' });
    expect(fresh[2]).toMatchObject({ as: 'volatile', lost: false });
  });

  test('the plan of a restore leaves out a folder that the host shared with its guest, and takes the disk behind it for the OS', () => {
    const shared = vmOf(
      `<DISK><DISK_ID>0</DISK_ID><TYPE>FILESYSTEM</TYPE><IMAGE_ID>4</IMAGE_ID></DISK>
       <DISK><DISK_ID>1</DISK_ID><TYPE>FILE</TYPE><FORMAT>raw</FORMAT></DISK>`,
    );
    const plans = planDisks(shared, bundleOf([1]), options);
    expect(plans.map((plan) => (plan.as === 'register' ? plan.type : plan.as))).toEqual([
      'absent',
      'OS',
    ]);
  });

  test('the plan of a restore refers to a folder that the host shared with its guest by its image, if that still exists', () => {
    const shared = vmOf(
      `<DISK><DISK_ID>0</DISK_ID><TYPE>FILE</TYPE><FORMAT>raw</FORMAT></DISK>
       <DISK><DISK_ID>1</DISK_ID><TYPE>FILESYSTEM</TYPE><IMAGE_ID>4</IMAGE_ID></DISK>`,
    );
    const plans = planDisks(shared, bundleOf([0]), { ...options, kept: new Map([[1, 4]]) });
    expect(plans[1]).toMatchObject({ as: 'reuse', imageId: 4 });
  });

  test('the plan of a restore refuses a bundle that lacks a disk of its VM', () => {
    expect(() => planDisks(vm, bundleOf([0, 2, 3, 4]), options)).toThrow('lacks disk 1');
  });

  test('the plan of a restore refuses a bundle with a disk its VM does not have', () => {
    expect(() => planDisks(vm, bundleOf([0, 1, 2, 3, 4, 9]), options)).toThrow('holds disk 9');
  });

  test('the plan of a restore refuses a disk number that the bundle does not have', () => {
    expect(() => planDisks(vm, all, { ...options, only: [7] })).toThrow('has no disk 7');
  });

  test('the plan of a restore refuses a disk of which nobody says the format', () => {
    const silent = vmOf('<DISK><DISK_ID>0</DISK_ID><TYPE>FILE</TYPE></DISK>');
    expect(() => planDisks(silent, bundleOf([0]), options)).toThrow('format');
  });
});
