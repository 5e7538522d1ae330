import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { cannotMake, startRules } from './rules.ts';
import type { Rules } from './rules.ts';

let rules: Rules;

beforeEach(async () => {
  rules = await startRules();
});

afterEach(async () => {
  await rules.stop();
});

/** Starts anew, as another release of OpenNebula. */
async function play(version: string): Promise<void> {
  await rules.stop();
  rules = await startRules(version);
}

test.each([
  ['an OS that is not a vector', 'OS=""', 'Internal error parsing OS attribute.'],
  ['two OS', 'OS=[ARCH=x86_64]\nOS=[ARCH=x86_64]', 'Only one OS attribute can be defined.'],
  [
    'a boot order with a NIC that does not exist',
    'OS=[BOOT="nic1"]\nNIC=[NETWORK_ID=0]',
    'Wrong OS/BOOT value. Device with NIC_ID 1 not found',
  ],
  [
    'a boot order with a disk that does not exist',
    'OS=[BOOT="disk0"]',
    'Wrong OS/BOOT value. Device with DISK_ID 0 not found',
  ],
  [
    'a boot order with another word',
    'OS=[BOOT="hd"]',
    'Wrong OS/BOOT value: "hd" should be a comma-separated list of disk# or nic#',
  ],
  [
    'a topology of some of its parts',
    'VCPU=4\nTOPOLOGY=[CORES=4]',
    'Non-pinned VMs with a virtual topology needs to set  SOCKETS, CORES and THREADS numbers.',
  ],
  [
    'a topology of more threads than VCPU',
    'VCPU=2\nTOPOLOGY=[CORES=4,SOCKETS=1,THREADS=1]',
    'Total threads per core and socket needs to match VCPU',
  ],
  [
    'a port of graphics that is too large',
    'GRAPHICS=[PORT=70000]',
    'Wrong PORT number in GRAPHICS attribute',
  ],
  ['a VIDEO without a type', 'VIDEO=[VRAM=2048]', 'Video TYPE is required'],
  [
    'a PCI device without an id',
    'PCI=[TYPE=GPU]',
    'SHORT_ADDRESS, DEVICE, VENDOR or CLASS must be defined for PCI.',
  ],
  ['a VM group', 'VMGROUP=[VMGROUP_ID=3,ROLE=web]', 'Cannot find VM Group to associate the VM'],
])('a template with %s makes no VM', async (_, template, reason) => {
  expect(await rules.instantiate(template)).toBe(cannotMake + reason);
});

test('attributes of a template that should be vectors and are empty are dropped', async () => {
  const { template, userTemplate } = await rules.make(
    'NIC=""\nNIC_ALIAS=""\nDISK=""\nPCI=""\nTOPOLOGY=""',
  );
  for (const name of ['NIC', 'NIC_ALIAS', 'DISK', 'PCI', 'TOPOLOGY']) {
    const left = [...template.all(), ...userTemplate.all()].filter((one) => one.name === name);
    expect(left).toEqual([]);
  }
});

test('OS/BOOT of a VM becomes ORDER, and empty places in it are skipped', async () => {
  const { template } = await rules.make(
    `OS=[BOOT="nic0,,disk00"]\nNIC=[NETWORK_ID=0]\nDISK=[IMAGE_ID=${rules.image}]`,
  );
  expect(template.vectors('NIC')[0]?.get('ORDER')).toBe('1');
  expect(template.vectors('DISK')[0]?.get('ORDER')).toBe('2');
});

test('a VM with a topology that is not pinned gets PIN_POLICY=NONE', async () => {
  const { template } = await rules.make('VCPU=2\nTOPOLOGY=[SOCKETS=1,CORES=2,THREADS=1]');
  expect(template.vectors('TOPOLOGY')[0]?.get('PIN_POLICY')).toBe('NONE');
});

test('a pinned VM gets its NUMA nodes in KiB', async () => {
  const { template } = await rules.make('VCPU=4\nTOPOLOGY=[PIN_POLICY=CORE,SOCKETS=2]');
  expect(template.vectors('NUMA_NODE').map((node) => Object.fromEntries(node))).toEqual([
    { MEMORY: '32768', TOTAL_CPUS: '2' },
    { MEMORY: '32768', TOTAL_CPUS: '2' },
  ]);
});

test('RANDOM_PASSWD of a VM makes a password that fits its graphics', async () => {
  const { template } = await rules.make('GRAPHICS=[TYPE=VNC,RANDOM_PASSWD=YES]');
  expect(template.vectors('GRAPHICS')[0]?.get('PASSWD')).toMatch(/^[0-9a-f]{8}$/);
});

test('a PCI device loses its place on the host and gets one in the guest', async () => {
  const { template } = await rules.make('PCI=[VENDOR=10de,ADDRESS="0000:02:00:0"]');
  expect(Object.fromEntries(template.vectors('PCI')[0] ?? [])).toEqual({
    PCI_ID: '0',
    VENDOR: '10de',
    VM_ADDRESS: '01:01.0',
    VM_BUS: '0x01',
    VM_DOMAIN: '0x0000',
    VM_FUNCTION: '0',
    VM_SLOT: '0x01',
  });
});

test('OpenNebula 7.4 writes the default machine and its own YES and NO into a VM', async () => {
  await play('7.4.0');
  const { template } = await rules.make('FEATURES=[ACPI=yes,PAE=whatever]');
  expect(template.vectors('OS')[0]?.get('MACHINE')).toBe('q35');
  expect(Object.fromEntries(template.vectors('FEATURES')[0] ?? [])).toEqual({
    ACPI: 'YES',
    PAE: 'NO',
  });
  expect(template.get('AUTOMATIC_REQUIREMENTS')).toBe('!(PIN_POLICY = PINNED)');
});

test('OpenNebula 6.4 does not make up a topology', async () => {
  await play('6.4.7');
  expect(await rules.instantiate('TOPOLOGY=[PIN_POLICY=NONE]')).toContain('Non-pinned VMs');
});

test.each([
  ['6.4.7', /^\d+$/],
  ['6.10.5', /Invalid NAME, char '\t' is not allowed/],
])(
  'OpenNebula %s has its own rule about a tab in the name of a template',
  async (version, answer) => {
    await play(version);
    expect(await rules.instantiate('NAME="a\tb"')).toMatch(answer);
  },
);

test('a release that is not a number is refused', async () => {
  await expect(startRules('6.10')).rejects.toThrow('6.10 is not a release of OpenNebula');
});

test('a template loses its empty vectors when it is stored, and OS with them', async () => {
  const { template } = await rules.make('OS=[]\nCONTEXT=[]\nGRAPHICS=[]');
  expect(template.vectors('CONTEXT')).toEqual([]);
  expect([...(template.vectors('OS')[0]?.keys() ?? [])]).toEqual(['UUID']);
});

test.each([
  ['6.4.7', 'CPU_MODEL=""', true],
  ['6.4.7', 'GRAPHICS=""', false],
  ['6.10.5', 'CPU_MODEL=""', true],
  ['6.10.5', 'GRAPHICS=""', true],
  ['6.10.5', 'VIDEO=""', true],
  ['6.10.5', 'CONTEXT=""', true],
  ['6.10.5', 'NIC=""', false],
  ['7.4.0', 'CPU_MODEL=""\nGRAPHICS=""\nVIDEO=""\nCONTEXT=""', false],
])('OpenNebula %s that gets %s dies: %s', async (version, template, dies) => {
  await play(version);
  const answer = rules.instantiate(template);
  if (!dies) {
    expect(await answer).toMatch(/^\d+$/);
    return;
  }
  await expect(answer).rejects.toThrow('fetch failed');
  await expect(rules.instantiate('')).rejects.toThrow('fetch failed');
  expect(rules.sandbox.world.died).toMatch(/is not a vector$/);
});

test.each([
  ['without a type', 'RAW=[DATA="<x/>"]', 'unsupported TYPE'],
  ['that is no XML', 'RAW=[TYPE=kvm,DATA="<x>"]', 'cannot validate DATA with domain.rng schema'],
])('a RAW section %s is refused when the template is stored', async (_, raw, reason) => {
  expect(await rules.instantiate(raw)).toBe(
    `[one.template.allocate] Invalid RAW section: ${reason}`,
  );
  expect(await rules.instantiate(raw.replace(']', ',VALIDATE=NO]'))).toMatch(/^\d+$/);
});

test('OpenNebula 7.4 takes blanks off the values of a template, earlier ones keep them', async () => {
  const value = async (): Promise<string | undefined> =>
    (await rules.make('COLOUR=" red "')).userTemplate.get('COLOUR');
  expect(await value()).toBe(' red ');
  await play('7.4.0');
  expect(await value()).toBe('red');
});

test.each([
  ['6.10.5', 'hda'],
  ['7.4.0', 'sda'],
])('the CD-ROM of the context of OpenNebula %s is %s', async (version, target) => {
  await play(version);
  const { template } = await rules.make('CONTEXT=[A=b]');
  expect(template.vectors('CONTEXT')[0]?.get('TARGET')).toBe(target);
});

test('more than four IDE disks need a q35 machine', async () => {
  const disks = `DISK=[TYPE=fs,SIZE=1,FORMAT=raw,DEV_PREFIX=hd]\n`.repeat(5);
  expect(await rules.instantiate(disks)).toMatch(/Non-q35 VM \d+ has more than 4 hd disks$/);
  expect(await rules.instantiate(`${disks}OS=[MACHINE=pc-q35-8.0]`)).toMatch(/^\d+$/);
});
