// A VM with everything that oned is particular about is restored and started again, by the rules of each release.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { mustCall } from '../sandbox/call.ts';
import { sh } from '../support/shell.ts';
import type { Vm } from '../sandbox/vm.ts';
import { makeWorld, type World } from '../support/world.ts';

/** NICs with names and an alias, a boot order, a topology, dollars, a file, a password of oned's, a router's keys. */
function particular(disk: number, network: number, file: number): string {
  return `
    CPU=1
    VCPU=2
    MEMORY=64
    COLOUR=red
    DISK=[IMAGE_ID=${disk}]
    DISK=[TYPE=fs,SIZE=4,FORMAT=raw]
    NIC=[NETWORK_ID=${network},IP=10.8.0.3]
    NIC=[NETWORK=net1,NETWORK_UNAME=oneadmin,NAME=lan]
    NIC_ALIAS=[NETWORK_ID=${network},PARENT=NIC0]
    OS=[BOOT="nic1,disk0"]
    TOPOLOGY=[SOCKETS=1,CORES=2,THREADS=1]
    GRAPHICS=[TYPE=VNC,LISTEN=0.0.0.0,RANDOM_PASSWD=YES]
    VROUTER_KEEPALIVED_ID=7
    CONTEXT=[NETWORK=YES,SHOWN="$COLOUR",COSTS="5 \\$ each",FILES_DS="$FILE[IMAGE_ID=${file}]"]
  `.replace(/^ +/gm, '');
}

describe.each(['6.4.7', '6.10.5', '7.4.0'])('OpenNebula %s', (version) => {
  let world: World;
  let bundle: string;
  let bob: string;

  beforeAll(async () => {
    world = await makeWorld(version);
    const { sandbox } = world;
    bob = await sandbox.addUser('bob');
    const file = join(world.folder, 'image.raw');
    await sh('truncate', '-s', '2M', file);
    const raw = { file, format: 'raw' } as const;
    const disk = await sandbox.makeImage({ name: 'disk', ...raw });
    const motd = await sandbox.makeImage({ name: 'motd', ...raw, type: 'CONTEXT', datastore: 2 });
    sandbox.world.images.get(motd)!.permissions = '110000100';
    const network = sandbox.addNetwork({
      name: 'filtered',
      attributes: { FILTER_IP_SPOOFING: 'YES', FILTER_MAC_SPOOFING: 'YES', MTU: '1400' },
      ranges: [{ id: 0, type: 'IP4_6', ip: '10.8.0.1', size: 9, globalPrefix: '2001:db8:0:1' }],
    });
    const id = await sandbox.makeVm({
      template: particular(disk, network, motd),
      ...{ name: 'particular', state: 'poweroff' },
    });
    bundle = join(world.folder, 'bundle.tar.gz');
    const { code, stderr } = await world.run(['export', String(id), '-d', bundle]);
    if (code !== 0) throw new Error(stderr);
    await mustCall(sandbox, 'one.vm.action', 'terminate-hard', id);
    await sandbox.settle();
  });
  afterAll(() => world.close());

  async function restored(name: string, authFile: string, ...options: string[]): Promise<Vm> {
    const args = ['restore', bundle, '-n', name, '--instantiate', '--json', ...options];
    const ended = await world.run(args, { env: { ONE_AUTH: authFile } });
    expect({ code: ended.code, stderr: ended.code === 0 ? '' : ended.stderr }).toEqual({
      code: 0,
      stderr: '',
    });
    await world.sandbox.settle();
    const { vmId } = JSON.parse(ended.stdout) as { readonly vmId: number };
    const vm = world.sandbox.world.vms.get(vmId)!;
    await mustCall(world.sandbox, 'one.vm.action', 'terminate-hard', vmId);
    await world.sandbox.settle();
    return vm;
  }

  test(`OpenNebula ${version} makes a VM of the restored template with the addresses of the old one`, async () => {
    const { template } = await restored('addresses', world.sandbox.authFile, '--restore-nics');
    const nics = template.vectors('NIC');
    expect(nics.map((nic) => nic.get('IP'))).toEqual(['10.8.0.3', '10.9.0.10']);
    expect(nics.map((nic) => nic.get('NAME'))).toEqual(['NIC0', 'lan']);
    expect(nics[0]?.get('MTU')).toBe('1400');
    const [alias] = template.vectors('NIC_ALIAS');
    expect([alias?.get('PARENT_ID'), alias?.get('IP')]).toEqual(['0', '10.8.0.1']);
    expect([nics[1]?.get('ORDER'), template.vectors('DISK')[0]?.get('ORDER')]).toEqual(['1', '2']);
  });

  test(`OpenNebula ${version} makes a VM of the restored template with the CONTEXT of the old one`, async () => {
    const { template } = await restored('context', world.sandbox.authFile);
    const [context] = template.vectors('CONTEXT');
    expect(context?.get('SHOWN')).toBe('red');
    expect(context?.get('COSTS')).toBe('5 \\$ each');
    expect(context?.has('VROUTER_KEEPALIVED_ID')).toBe(false);
    expect(template.get('VROUTER_KEEPALIVED_ID')).toBeUndefined();
    expect(template.vectors('TOPOLOGY')[0]?.get('CORES')).toBe('2');
  });

  test(`OpenNebula ${version} lets an ordinary user restore and start a VM with filtered NICs and a topology`, async () => {
    const { template, uname } = await restored('ordinary', bob, '--restore-nics');
    expect(uname).toBe('bob');
    expect(template.vectors('NIC').map((nic) => nic.get('IP'))).toEqual(['10.8.0.3', '10.9.0.10']);
    expect(template.vectors('NIC')[0]?.get('FILTER_IP_SPOOFING')).toBe('YES');
  });
});
