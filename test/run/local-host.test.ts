// Names and addresses of this machine, as OpenNebula may have them as a host's name.
import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { hostname, networkInterfaces } from 'node:os';
import { isThisMachine, runsOn, targetOfHost } from '../../lib/run/local-host.ts';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { hostOfDisks } from '../../lib/vm/disk-host.ts';

const addresses = Object.values(networkInterfaces()).flatMap((all) =>
  all!.map(({ address }) => address),
);

test.each([
  ...['localhost', hostname(), '127.0.0.1', '127.0.1.1', '::1', ...addresses],
  // Other names for it, which the hosts file has.
  ...execFileSync('getent', ['hosts', '127.0.0.1'], { encoding: 'utf8' })
    .trim()
    .split(/\s+/)
    .slice(1),
])('%s is this machine', async (name) => {
  expect(await isThisMachine(name)).toBe(true);
});

test.each(['192.0.2.7', '2001:db8::7', 'no-such-host.invalid', '', 'a b'])(
  '%j is another machine',
  async (name) => {
    expect(await isThisMachine(name)).toBe(false);
  },
);

test('a host that is this machine needs no ssh, and another one is reached by its name', async () => {
  expect(await targetOfHost('127.0.1.1')).toBeUndefined();
  expect(await targetOfHost(hostname(), 'root')).toBeUndefined();
  expect(await targetOfHost('192.0.2.7')).toEqual({ host: '192.0.2.7' });
  expect(await targetOfHost('192.0.2.7', 'root')).toEqual({ host: '192.0.2.7', user: 'root' });
});

test.each(['', '-oProxyCommand=id', 'a b', 'a;b'])(
  '%j is neither this machine nor a name that ssh can be given',
  async (name) => {
    await expect(targetOfHost(name)).rejects.toThrow(
      `${JSON.stringify(name)} is not a valid host name`,
    );
  },
);

test('a runner runs on this machine, or on the host that it reaches by this name', async () => {
  expect(await runsOn({ target: undefined }, 'localhost')).toBe(true);
  expect(await runsOn({ target: undefined }, '192.0.2.7')).toBe(false);
  expect(await runsOn({ target: { host: 'kvm1' } }, 'kvm1')).toBe(true);
  // A runner with a target is on another machine, whatever this one is called.
  expect(await runsOn({ target: { host: 'kvm1' } }, 'localhost')).toBe(false);
});

/** A powered-off VM that was last on this host. */
const vmOn = (host: string) =>
  parseVm(
    Buffer.from(
      `<VM><ID>8</ID><NAME>n</NAME><STATE>8</STATE><LCM_STATE>0</LCM_STATE><TEMPLATE/><HISTORY_RECORDS><HISTORY><SEQ>0</SEQ><HOSTNAME>${host}</HOSTNAME><TM_MAD>ssh</TM_MAD><DS_ID>0</DS_ID></HISTORY></HISTORY_RECORDS></VM>`,
    ),
  );

test('the disks of a VM whose host is an address of this machine are read here', async () => {
  const auto = { host: 'auto', user: 'oneadmin' };
  expect(await hostOfDisks(auto, vmOn('127.0.0.1'), '-h')).toBeUndefined();
  expect(await hostOfDisks(auto, vmOn(addresses[0]!), '-h')).toBeUndefined();
  expect(await hostOfDisks(auto, vmOn('192.0.2.7'), '-h')).toEqual({
    host: '192.0.2.7',
    user: 'oneadmin',
  });
});

test('a host that is named, and not by auto, is reached by ssh whatever it is', async () => {
  expect(await hostOfDisks({ host: 'localhost' }, vmOn('kvm1'), '-h')).toEqual({
    host: 'localhost',
  });
});
