import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { childText } from '../../lib/xml/xml.ts';
import { decodeVmInput } from '../../lib/xml/stdin.ts';
import { parseVm, vmFromElement } from '../../lib/vm/vm-xml.ts';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import { UsageError } from '../../lib/report/errors.ts';
import type { Vm } from '../../lib/vm/vm.ts';

const fixtures = join(import.meta.dirname, '../fixtures');
const load = (path: string): Vm => parseVm(decodeVmInput(readFileSync(join(fixtures, path))));
const recorded = [
  ...readdirSync(join(fixtures, 'vm'))
    .filter((name) => /^vm-.*\.xml$/.test(name))
    .map((name) => `vm/${name}`),
  'hooks/state-running.stdin',
  'hooks/state-poweroff.stdin',
  'hooks/remote-yes.stdin',
  'drivers/tm-ssh-prebackup.stdin',
  'drivers/tm-qcow2-prebackup_live.stdin',
];

/** The same facts, gathered by another parser. */
const witness = `
import base64, json, sys
from xml.etree import ElementTree
def facts(path):
    data = open(path, 'rb').read()
    if not data.startswith(b'<'): data = base64.b64decode(data)
    vm = ElementTree.fromstring(data)
    t = lambda e, p: e.findtext(p) or None
    n = lambda e, p: int(e.findtext(p)) if e.findtext(p) else None
    disks = [{"id": n(d, 'DISK_ID'), "type": t(d, 'TYPE').upper(), "format": t(d, 'FORMAT'), "driver": t(d, 'DRIVER'),
      "tmMad": t(d, 'TM_MAD'), "source": t(d, 'SOURCE'), "imageId": n(d, 'IMAGE_ID'), "image": t(d, 'IMAGE'),
      "imageUname": t(d, 'IMAGE_UNAME'), "datastoreId": n(d, 'DATASTORE_ID'), "sizeMb": n(d, 'SIZE'),
      "originalSizeMb": n(d, 'ORIGINAL_SIZE'),
      "target": t(d, 'TARGET'), "devPrefix": t(d, 'DEV_PREFIX'), "persistent": t(d, 'PERSISTENT') == 'YES',
      "readonly": t(d, 'READONLY') == 'YES', "clone": t(d, 'CLONE') == 'YES',
      "shareable": t(d, 'SHAREABLE') == 'YES', "diskType": t(d, 'DISK_TYPE')} for d in vm.findall('TEMPLATE/DISK')]
    ended = lambda h: h.findtext('ACTION') == '44' and n(h, 'SEQ') == n(last, 'SEQ') - 1 and t(h, 'HOSTNAME') == t(last, 'HOSTNAME')
    last = max(vm.findall('HISTORY_RECORDS/HISTORY'), key=lambda h: int(h.findtext('SEQ')))
    return {"id": n(vm, 'ID'), "name": t(vm, 'NAME'), "uid": n(vm, 'UID'), "gid": n(vm, 'GID'), "uname": t(vm, 'UNAME'),
      "gname": t(vm, 'GNAME'), "state": n(vm, 'STATE'), "lcmState": n(vm, 'LCM_STATE'), "deployId": t(vm, 'DEPLOY_ID'),
      "uuid": t(vm, 'TEMPLATE/OS/UUID'), "stime": n(vm, 'STIME'), "tmMadSystem": t(vm, 'TEMPLATE/TM_MAD_SYSTEM'), "disks": disks,
      "history": {"seq": n(last, 'SEQ'), "stime": n(last, 'STIME'), "hostname": t(last, 'HOSTNAME'), "vmMad": t(last, 'VM_MAD'), "tmMad": t(last, 'TM_MAD'), "datastoreId": n(last, 'DS_ID'),
        "foundAgain": any(map(ended, vm.findall('HISTORY_RECORDS/HISTORY')))},
      "template": [c.tag for c in vm.find('TEMPLATE')], "userTemplate": {c.tag: c.text for c in vm.find('USER_TEMPLATE')}}
print(json.dumps({p: facts(p) for p in sys.argv[1:]}))`;

test('every recorded VM reads as another parser reads it', () => {
  const paths = recorded.map((path) => join(fixtures, path));
  const expected = JSON.parse(
    execFileSync('python3', ['-c', witness, ...paths]).toString(),
  ) as Record<string, unknown>;
  expect(recorded.length).toBe(15);
  for (const path of recorded) {
    const { xmlBytes, lock, previous, schedActions, backupConfig, ...vm } = load(path);
    const seen = {
      ...vm,
      disks: vm.disks.map(({ xml, cephUser, cephKey, cephConf, poolName, ...disk }) => {
        expect([cephUser, cephKey, cephConf, poolName]).toEqual([
          undefined,
          undefined,
          undefined,
          undefined,
        ]);
        expect(childText(xml, 'DISK_ID')).toBe(String(disk.id));
        return disk;
      }),
      template: vm.template.children.map(({ name }) => name),
      userTemplate: Object.fromEntries(
        vm.userTemplate.children.map(({ name, text }) => [name, text]),
      ),
    };
    const withNulls: unknown = JSON.parse(
      JSON.stringify(seen, (_, value: unknown) => (value === undefined ? null : value)),
    );
    expect(withNulls).toEqual(expected[join(fixtures, path)]);
    expect(lock).toBeUndefined();
    expect(previous).toMatchObject({ state: expect.any(Number) as unknown });
    expect(schedActions).toEqual([]);
    expect(backupConfig?.name).toBe('BACKUP_CONFIG');
    expect(xmlBytes.toString()).toMatch(/^<VM>/);
  }
});

test('the fields of a running VM with five disks are read from its XML', () => {
  const vm = load('vm/vm-running-qcow2-kvm.xml');
  expect(vm).toMatchObject({
    id: 103,
    name: 'vmkq',
    state: 3,
    lcmState: 3,
    deployId: '26926f03-1ff4-446a-bdaa-43714656215c',
    tmMadSystem: 'qcow2',
    history: { seq: 0, hostname: 'kvm1', vmMad: 'qemu', tmMad: 'qcow2', datastoreId: 100 },
  });
  expect(
    vm.disks.map(({ id, type, imageId, datastoreId }) => [id, type, imageId, datastoreId]),
  ).toEqual([
    [0, 'FILE', 7, 101],
    [1, 'FS', undefined, 100],
    [2, 'CDROM', 9, 101],
    [3, 'FILE', 12, 101],
    [4, 'SWAP', undefined, 100],
  ]);
  expect(vm.disks[3]).toMatchObject({
    persistent: true,
    readonly: false,
    target: 'vdc',
    sizeMb: 50,
  });
  expect(childText(vm.userTemplate, 'DESCRIPTION')).toBe('Template with "quotes" & <amp>');
});

const vmXml = (changes: Record<string, string> = {}): Buffer => {
  const fields: Record<string, string> = {
    ID: '<ID>8</ID>',
    NAME: '<NAME>web</NAME>',
    STATE: '<STATE>8</STATE>',
    LCM_STATE: '<LCM_STATE>0</LCM_STATE>',
    DEPLOY_ID: '<DEPLOY_ID/>',
    TEMPLATE: '<TEMPLATE/>',
    HISTORY_RECORDS: '<HISTORY_RECORDS/>',
    ...changes,
  };
  return Buffer.from(`<VM>${Object.values(fields).join('')}</VM>`);
};
const disks = (...all: string[]): Record<string, string> => ({
  TEMPLATE: `<TEMPLATE>${all.map((one) => `<DISK>${one}</DISK>`).join('')}</TEMPLATE>`,
});

test('a VM that never ran has no history, no domain and no disks', () => {
  expect(parseVm(vmXml())).toMatchObject({
    id: 8,
    history: undefined,
    deployId: undefined,
    disks: [],
    lock: undefined,
    userTemplate: { name: 'USER_TEMPLATE', children: [] },
  });
});

test('the lock of a VM is read as the number that oned stores', () => {
  const lock = '<LOCK><LOCKED>2</LOCKED><OWNER>0</OWNER></LOCK>';
  expect(parseVm(vmXml({ LOCK: lock })).lock?.level).toBe(2);
});

test('the disks of a VM are in the order of their ids', () => {
  const ids = [2, 0, 10].map((id) => `<TYPE>FILE</TYPE><DISK_ID>${id}</DISK_ID>`);
  expect(parseVm(vmXml(disks(...ids))).disks.map(({ id }) => id)).toEqual([0, 2, 10]);
});

test('the last history record of a VM is the one with the greatest SEQ, wherever it is', () => {
  const record = (seq: number): string =>
    `<HISTORY><SEQ>${seq}</SEQ><HOSTNAME>h${seq}</HOSTNAME><TM_MAD>ssh</TM_MAD><DS_ID>0</DS_ID></HISTORY>`;
  const records = `<HISTORY_RECORDS>${record(9)}${record(10)}${record(2)}</HISTORY_RECORDS>`;
  expect(parseVm(vmXml({ HISTORY_RECORDS: records })).history?.hostname).toBe('h10');
});

test("names in a VM's XML stay the text they are", () => {
  const name = `$(reboot) '"\\ ../../etc \`id\` é`;
  const vm = parseVm(
    vmXml({
      NAME: `<NAME><![CDATA[${name}]]></NAME>`,
      ...disks(`<DISK_ID>0</DISK_ID><TYPE>FILE</TYPE><SOURCE><![CDATA[${name}]]></SOURCE>`),
    }),
  );
  expect([vm.name, vm.disks[0]?.source]).toEqual([name, name]);
});

test('Ceph credentials are read from the disk of a VM', () => {
  const xml =
    '<DISK_ID>0</DISK_ID><TYPE>RBD</TYPE><CEPH_USER>libvirt</CEPH_USER><CEPH_CONF>/etc/c.conf</CEPH_CONF><CEPH_KEY>/k</CEPH_KEY><POOL_NAME>one</POOL_NAME>';
  expect(parseVm(vmXml(disks(xml))).disks[0]).toMatchObject({
    cephUser: 'libvirt',
    cephConf: '/etc/c.conf',
    cephKey: '/k',
    poolName: 'one',
  });
});

test('the scheduled actions and the backup configuration of a VM are found beside its template', () => {
  const vm = parseVm(
    vmXml({
      SCHED_ACTIONS:
        '<SCHED_ACTIONS><ID>4</ID><SCHED_ACTION><ACTION>reboot</ACTION></SCHED_ACTION></SCHED_ACTIONS>',
      BACKUPS: '<BACKUPS><BACKUP_CONFIG><MODE>FULL</MODE></BACKUP_CONFIG></BACKUPS>',
    }),
  );
  expect(vm.schedActions.map((one) => childText(one, 'ACTION'))).toEqual(['reboot']);
  expect(vm.backupConfig?.children.map(({ text }) => text)).toEqual(['FULL']);
});

test('a VM inside a larger document is read from its element', () => {
  const root = parseXml(Buffer.from(`<DATA>${vmXml().toString()}</DATA>`), 'it');
  const bytes = vmXml();
  expect(vmFromElement(root.children[0]!, bytes)).toEqual(parseVm(bytes));
});

describe('refused, naming the field', () => {
  test.each<[string, Record<string, string>, string]>([
    ['no ID', { ID: '' }, "the VM's XML has no ID"],
    ['no NAME', { NAME: '' }, 'the XML of VM 8 has no NAME'],
    ['no STATE', { STATE: '' }, 'the XML of VM 8 has no STATE'],
    ['no LCM_STATE', { LCM_STATE: '' }, 'the XML of VM 8 has no LCM_STATE'],
    ['no TEMPLATE', { TEMPLATE: '' }, 'the XML of VM 8 has no TEMPLATE'],
    ['two STATEs', { MORE: '<STATE>3</STATE>' }, 'the XML of VM 8 has more than one STATE'],
    ['a negative ID', { ID: '<ID>-1</ID>' }, 'ID is "-1", expected a whole number'],
    ['an ID with blanks', { ID: '<ID> 8</ID>' }, 'ID is " 8"'],
    ['an ID in hexadecimal', { ID: '<ID>0x8</ID>' }, 'ID is "0x8"'],
    ['an ID that is a path', { ID: '<ID>8/../9</ID>' }, 'ID is "8/../9"'],
    ['an ID beyond all numbers', { ID: '<ID>99999999999999999</ID>' }, 'ID is "9999'],
    ['a STATE in words', { STATE: '<STATE>POWEROFF</STATE>' }, 'STATE is "POWEROFF"'],
    ['a disk without id', disks('<TYPE>FILE</TYPE>'), 'a DISK of VM 8 has no DISK_ID'],
    ['a disk without type', disks('<DISK_ID>1</DISK_ID>'), 'DISK 1 of VM 8 has no TYPE'],
    [
      'a disk id twice',
      disks('<DISK_ID>1</DISK_ID><TYPE>FILE</TYPE>', '<DISK_ID>01</DISK_ID><TYPE>FILE</TYPE>'),
      'two disks with DISK_ID 1',
    ],
    [
      'a disk size in words',
      disks('<DISK_ID>1</DISK_ID><TYPE>FILE</TYPE><SIZE>10G</SIZE>'),
      'DISK 1 of VM 8: SIZE is "10G"',
    ],
    [
      'a history record without host',
      { HISTORY_RECORDS: '<HISTORY_RECORDS><HISTORY><SEQ>0</SEQ></HISTORY></HISTORY_RECORDS>' },
      'a HISTORY record of VM 8 has no HOSTNAME',
    ],
  ])('the XML of a VM is refused with the field: %s', (_, changes, expected) => {
    expect(() => parseVm(vmXml(changes))).toThrow(UsageError);
    expect(() => parseVm(vmXml(changes))).toThrow(expected);
  });

  test("the XML that an API hook gets is refused, as it is no VM's", () => {
    expect(() => load('hooks/api-vm-lock.stdin')).toThrow(
      "this is not a VM's XML: its root element is <CALL_INFO>, not <VM>",
    );
  });
});
