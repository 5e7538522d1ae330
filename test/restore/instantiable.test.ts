import { describe, expect, test } from '@jest/globals';
import { parseXml } from '../../lib/xml/xml-parse.ts';
import type { Network } from '../../lib/one/networks.ts';
import { demandOf, requireFreeAddresses } from '../../lib/restore/instantiable.ts';

const network: Network = {
  id: 5,
  name: 'net1',
  ranges: [
    {
      ip: ['10.9.0.10', '10.9.0.109'],
      mac: ['02:00:0a:09:00:0a', '02:00:0a:09:00:6d'],
      leases: [
        { ip: '10.9.0.11', ip6: undefined, mac: '02:00:0a:09:00:0b', vmId: 8 },
        { ip: '10.9.0.12', ip6: undefined, mac: '02:00:0a:09:00:0c', vmId: undefined },
      ],
    },
  ],
};
// Network 0 of the bundle is network 5 here.
const networks = new Map([[0, network]]);
const template = (nics: string) =>
  parseXml(Buffer.from(`<VMTEMPLATE><CPU>0.5</CPU><MEMORY>64</MEMORY>${nics}</VMTEMPLATE>`), 'it');
const nic = (inside: string, name = 'NIC') =>
  template(`<${name}><NETWORK_ID>5</NETWORK_ID><TYPE>NIC</TYPE>${inside}</${name}>`);

describe('the addresses of a VM that is to be instantiated', () => {
  test.each(['<IP>10.9.0.20</IP>', '<MAC>02:00:0A:09:00:14</MAC>', ''])(
    'the addresses of a VM that is to be instantiated may be free ones of the network: %j',
    (inside) => {
      expect(() => requireFreeAddresses(nic(inside), networks, 8)).not.toThrow();
    },
  );

  test.each(['NIC', 'NIC_ALIAS', 'PCI'])(
    'the addresses of a VM that is to be instantiated from a %s are refused while the old VM has them',
    (name) => {
      expect(() => requireFreeAddresses(nic('<IP>10.9.0.11</IP>', name), networks, 8)).toThrow(
        'the address 10.9.0.11 of network net1 (5) is still used by VM 8, the VM in the bundle: terminate the VM that has it, or restore with --no-ip',
      );
    },
  );

  test('the addresses of a VM that is to be instantiated are refused by MAC, and while something else has them', () => {
    const mac = nic('<MAC>02:00:0a:09:00:0B</MAC>');
    expect(() => requireFreeAddresses(mac, networks, 9)).toThrow(
      'is still used by VM 8: terminate',
    );
    const held = nic('<IP>10.9.0.12</IP>');
    expect(() => requireFreeAddresses(held, networks, 8)).toThrow('is in use');
  });

  test.each(['10.9.0.9', '10.9.0.110', '10.9.1.11', '192.168.0.11'])(
    'the addresses of a VM that is to be instantiated are refused when the network does not have them: %s',
    (ip) => {
      const outside = nic(`<IP>${ip}</IP>`);
      expect(() => requireFreeAddresses(outside, networks, 8)).toThrow(
        'is not one of network net1',
      );
    },
  );
});

describe('what a restore takes of quotas', () => {
  test('what a restore takes of quotas is every image of a datastore, and for a VM its capacity and one address for each NIC', () => {
    const sizes = [
      { datastoreId: 1, sizeMb: 10 },
      { datastoreId: 1, sizeMb: 5 },
      { datastoreId: 2, sizeMb: 1 },
    ];
    const vm = template(
      '<NIC><NETWORK_ID>5</NETWORK_ID></NIC><NIC><NETWORK_MODE>auto</NETWORK_MODE></NIC>',
    );
    expect(demandOf(sizes, vm)).toEqual({
      datastores: new Map([
        [1, { IMAGES: 2, SIZE: 15 }],
        [2, { IMAGES: 1, SIZE: 1 }],
      ]),
      leases: new Map([[5, 1]]),
      vm: { CPU: 0.5, MEMORY: 64 },
    });
    expect(demandOf([], undefined)).toMatchObject({ vm: undefined, leases: new Map() });
  });
});
